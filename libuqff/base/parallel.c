#include <omp.h>
#include <stdatomic.h>

#include "uqff/base.h"

/* More than any machine has cores; what stands in the way of a mistyped or hostile count, which
 * would end in the OpenMP library's refusal to start the team. */
enum { MOST_THREADS = 1024 };

struct loop {
    size_t count;
    uqff_loop_body *body;
    void *context;
    atomic_size_t next;  /* the index that is handed out next */
    atomic_uint workers; /* how many have begun: a worker's number as well */
    atomic_bool failed;
    /* Guards what follows. A lock of the loop's own, for a named critical section would be a symbol
     * that the shared library exports. */
    omp_lock_t lock;
    /* The failure with the smallest index. Indices are handed out in order and a body that has
     * begun ends, so whatever fails at a smaller index than the one that stopped the loop is still
     * seen: the smallest is the same whatever the number of threads. */
    size_t failed_at;
    enum uqff_code code;
    struct uqff_error *err;
};

static void record_failure(struct loop *loop, size_t i, enum uqff_code code,
                           const struct uqff_error *err) {
    omp_set_lock(&loop->lock);
    if (loop->code == UQFF_OK || i < loop->failed_at) {
        loop->code = code;
        loop->failed_at = i;
        if (loop->err != NULL) {
            *loop->err = *err;
        }
    }
    omp_unset_lock(&loop->lock);
}

static void work(struct loop *loop) {
    struct uqff_error err;
    unsigned thread = atomic_fetch_add_explicit(&loop->workers, 1, memory_order_relaxed);
    while (!atomic_load_explicit(&loop->failed, memory_order_relaxed)) {
        size_t i = atomic_fetch_add_explicit(&loop->next, 1, memory_order_relaxed);
        if (i >= loop->count) {
            break;
        }
        enum uqff_code code = loop->body(loop->context, i, thread, &err);
        if (code != UQFF_OK) {
            atomic_store_explicit(&loop->failed, true, memory_order_relaxed);
            record_failure(loop, i, code, &err);
        }
    }
}

/* Threads of the team that waits for this thread's loops. While one of them runs it is 1: a loop
 * inside a loop has no team. */
static _Thread_local unsigned team_size;

static unsigned limit_threads(unsigned threads) {
    if (threads == 0) {
        threads = uqff_available_threads();
    }
    return threads < MOST_THREADS ? threads : MOST_THREADS;
}

enum uqff_code uqff_parallel_team(unsigned threads, uqff_team_body *body, void *context,
                                  struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    threads = limit_threads(threads);
    if (threads == 1 || team_size != 0) {
        return body(context, err);
    }
#pragma omp parallel num_threads((int)threads)
#pragma omp master
    {
        team_size = (unsigned)omp_get_num_threads();
        code = body(context, err);
        team_size = 0;
    }
    return code;
}

/* The other threads of the team take workers as tasks. The tasks that none has taken when there is
 * nothing more to hand out end here at once, so that no time goes into waiting for a thread that
 * has no core at the moment. */
static void work_as_team(struct loop *loop, unsigned threads) {
    unsigned size = team_size;
    team_size = 1;
    for (unsigned i = 1; i < threads && i < size; i++) {
#pragma omp task firstprivate(loop)
        work(loop);
    }
    work(loop);
#pragma omp taskwait
    team_size = size;
}

enum uqff_code uqff_parallel_for(size_t count, unsigned threads, uqff_loop_body *body,
                                 void *context, struct uqff_error *err) {
    threads = limit_threads(threads);
    if (threads > count) {
        threads = (unsigned)count;
    }
    if (threads <= 1 || team_size == 1) {
        for (size_t i = 0; i < count; i++) {
            enum uqff_code code = body(context, i, 0, err);
            if (code != UQFF_OK) {
                return code;
            }
        }
        return UQFF_OK;
    }
    struct loop loop = {.count = count, .body = body, .context = context, .err = err};
    omp_init_lock(&loop.lock);
    if (team_size > 1) {
        work_as_team(&loop, threads);
    } else {
#pragma omp parallel num_threads((int)threads)
        work(&loop);
    }
    omp_destroy_lock(&loop.lock);
    return loop.code;
}
