// A C++ program of somebody else's: owns a model, reads rows from two threads, and sees an error.
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include <uqff/validation.h>

static void check(uqff_code code, const uqff_error &err) {
    if (code != UQFF_OK) {
        throw std::runtime_error(err.text);
    }
}

struct closer {
    void operator()(uqff_model *model) const { uqff_model_close(model); }
};
using model_pointer = std::unique_ptr<uqff_model, closer>;

static model_pointer open(const char *path) {
    uqff_model *model = nullptr;
    uqff_error err;
    check(uqff_model_open(path, nullptr, &model, &err), err);
    return model_pointer(model);
}

static std::vector<float> rows_of(const uqff_model *model, size_t i) {
    const struct uqff_model_module *module = uqff_model_module(model, i);
    std::vector<float> rows(module->rows * module->columns);
    uqff_error err;
    check(uqff_model_read_module_rows(model, i, 0, module->rows, rows.data(), &err), err);
    return rows;
}

int main(int argc, char **argv) try {
    const model_pointer model = open(argc > 1 ? argv[1] : "");
    std::vector<float> found[2];
    std::thread other([&] { found[0] = rows_of(model.get(), 0); });
    found[1] = rows_of(model.get(), 0);
    other.join();
    if (found[0] != found[1]) {
        return 1;
    }
    try {
        open("/nonexistent");
    } catch (const std::runtime_error &e) {
        std::printf("uqff %s: %zu weights; %s\n", uqff_version(), found[0].size(), e.what());
        return 0;
    }
    return 2;
} catch (const std::exception &e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 3;
}
