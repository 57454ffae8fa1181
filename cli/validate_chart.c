/* validate: a figure of all variants against their size, as SVG that needs no scripts. Colours come
 * from the page's style sheet, so that the chart follows light, dark and print. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "markup.h"
#include "validate.h"

/* The drawing, in units that are little less than pixels on a phone. */
enum { WIDTH = 440, HEIGHT = 320, LEFT = 58, RIGHT = 18, TOP = 34, BOTTOM = 44 };
enum { LETTER = 8, LINE = 14 }; /* width and height of a letter of a label, roughly */

struct axis {
    double low, high;
    bool logarithmic;
    double from, to; /* coordinates of low and high */
};

struct point {
    const struct candidate *candidate;
    double size, value, error;
    double x, y;
    bool failed;
};

struct box {
    double left, top, right, bottom;
};

struct chart {
    struct axis x, y;
    double unit; /* bytes a unit of the x axis */
    const char *unit_name;
    struct point *points; /* by size */
    size_t count;
    struct box *taken; /* by points and labels */
    size_t taken_count;
};

static double place(const struct axis *axis, double value) {
    const double share = axis->logarithmic
                             ? log10(value / axis->low) / log10(axis->high / axis->low)
                             : (value - axis->low) / (axis->high - axis->low);
    return axis->from + share * (axis->to - axis->from);
}

/* ---- scales ---------------------------------------------------------------------------------- */

/* A step of 1, 2 or 5 times a power of ten that gives about `wanted` of them. */
static double nice_step(double range, int wanted) {
    const double rough = range / wanted, power = pow(10, floor(log10(rough)));
    const double digit = rough / power;
    return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

static void spread(struct axis *axis, double share) {
    const double range = axis->high - axis->low;
    const double pad = range > 0              ? range * share
                       : fabs(axis->high) > 0 ? fabs(axis->high) * 0.1
                                              : 1;
    axis->low -= pad;
    axis->high += pad;
}

static void scale_sizes(struct chart *chart) {
    static const struct {
        double bytes;
        const char *name;
    } units[] = {{0x1p40, "TiB"}, {0x1p30, "GiB"}, {0x1p20, "MiB"}, {0x1p10, "KiB"}, {1, "B"}};
    const double largest = chart->points[chart->count - 1].size;
    size_t i = 0;
    while (units[i].bytes > 1 && largest < units[i].bytes) {
        i++;
    }
    chart->unit = units[i].bytes;
    chart->unit_name = units[i].name;
    chart->x = (struct axis){.low = chart->points[0].size / chart->unit,
                             .high = largest / chart->unit,
                             .from = LEFT,
                             .to = WIDTH - RIGHT};
    spread(&chart->x, 0.08);
    chart->x.low = chart->x.low < 0 ? 0 : chart->x.low;
}

static void scale_values(struct chart *chart, double base) {
    struct axis *y = &chart->y;
    *y = (struct axis){.from = HEIGHT - BOTTOM, .to = TOP};
    y->low = y->high = chart->points[0].value;
    for (size_t i = 0; i < chart->count; i++) {
        const struct point *p = &chart->points[i];
        y->low = fmin(y->low, p->value - p->error);
        y->high = fmax(y->high, p->value + p->error);
    }
    if (!isnan(base)) {
        y->low = fmin(y->low, base);
        y->high = fmax(y->high, base);
    }
    /* Divergences fall tenfold from one type to the next. */
    y->logarithmic = y->low > 0 && y->high / y->low >= 8;
    if (y->logarithmic) {
        y->low /= 1.3;
        y->high *= 1.3;
    } else {
        spread(y, 0.1);
    }
}

/* ---- drawing --------------------------------------------------------------------------------- */

static void tick_x(const struct chart *chart, double value, struct uqff_buffer *out) {
    const double x = place(&chart->x, value);
    uqff_buffer_printf(out,
                       "<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>"
                       "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.6g</text>\n",
                       x, TOP, x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 16, value);
}

static void tick_y(const struct chart *chart, double value, struct uqff_buffer *out) {
    const double y = place(&chart->y, value);
    char text[32];
    snprintf(text, sizeof text, "%.6g", value);
    /* "1e-05" is as well told by "1e-5". */
    char *exponent = strstr(text, "e-0");
    if (exponent != NULL) {
        memmove(exponent + 2, exponent + 3, strlen(exponent + 3) + 1);
    }
    uqff_buffer_printf(out,
                       "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>"
                       "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                       LEFT, y, WIDTH - RIGHT, y, LEFT - 8, y + 4, text);
}

/* Rounded, so that no tick is called 0.30000000000000004, and no zero is negative. */
static double tick_at(double index, double step) {
    return index == 0 ? 0 : index * step;
}

static void draw_axes(const struct chart *chart, const char *title, struct uqff_buffer *out) {
    double step = nice_step(chart->x.high - chart->x.low, 6);
    for (double i = ceil(chart->x.low / step); i * step <= chart->x.high; i++) {
        tick_x(chart, tick_at(i, step), out);
    }
    if (chart->y.logarithmic) {
        const bool few = chart->y.high / chart->y.low < 200;
        for (double power = pow(10, floor(log10(chart->y.low))); power <= chart->y.high;
             power *= 10) {
            static const double digits[] = {1, 2, 5};
            for (size_t i = 0; i < (few ? 3 : 1); i++) {
                const double value = power * digits[i];
                if (value >= chart->y.low && value <= chart->y.high) {
                    tick_y(chart, value, out);
                }
            }
        }
    } else {
        step = nice_step(chart->y.high - chart->y.low, 5);
        for (double i = ceil(chart->y.low / step); i * step <= chart->y.high; i++) {
            tick_y(chart, tick_at(i, step), out);
        }
    }
    uqff_buffer_printf(out,
                       "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>"
                       "<text class=\"title\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">size, %s"
                       "</text><text class=\"title\" x=\"12\" y=\"21\">%s%s</text>\n",
                       LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM,
                       (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, chart->unit_name, title,
                       chart->y.logarithmic ? ", logarithmic" : "");
}

/* Joins the variants that no smaller one betters. */
static void draw_front(const struct chart *chart, bool more_is_better, struct uqff_buffer *out) {
    double best = (double)NAN;
    uqff_buffer_printf(out, "<polyline class=\"front\" points=\"");
    for (size_t i = 0; i < chart->count; i++) {
        const struct point *p = &chart->points[i];
        if (isnan(best) || (more_is_better ? p->value > best : p->value < best)) {
            best = p->value;
            uqff_buffer_printf(out, "%.1f,%.1f ", p->x, p->y);
        }
    }
    uqff_buffer_printf(out, "\"/>\n");
}

static void draw_point(const struct chart *chart, const struct point *p, struct uqff_buffer *out) {
    if (p->error > 0) {
        uqff_buffer_printf(
            out, "<line class=\"error\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", p->x,
            place(&chart->y, p->value - p->error), p->x, place(&chart->y, p->value + p->error));
    }
    /* What fails is told by form as well as by colour. */
    if (p->failed) {
        uqff_buffer_printf(out, "<path class=\"bad\" d=\"M%.1f %.1fl6 6 -6 6 -6 -6z\"/>", p->x,
                           p->y - 6);
    } else {
        uqff_buffer_printf(out, "<circle class=\"point\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>", p->x,
                           p->y);
    }
}

/* ---- labels ---------------------------------------------------------------------------------- */

static bool overlaps(const struct chart *chart, const struct box *box) {
    if (box->left < LEFT || box->right > WIDTH - RIGHT + 12 || box->top < TOP ||
        box->bottom > HEIGHT - BOTTOM) {
        return true;
    }
    for (size_t i = 0; i < chart->taken_count; i++) {
        const struct box *other = &chart->taken[i];
        if (box->left < other->right && box->right > other->left && box->top < other->bottom &&
            box->bottom > other->top) {
            return true;
        }
    }
    return false;
}

/* A dashed line for the base, named at one of its ends. */
static void draw_base(struct chart *chart, double base, struct uqff_buffer *out) {
    static const struct {
        double left;
        int below;
    } places[] = {{WIDTH - RIGHT - 36, 0}, {LEFT + 4, 0}, {WIDTH - RIGHT - 36, 1}, {LEFT + 4, 1}};
    const double y = place(&chart->y, base);
    uqff_buffer_printf(out, "<line class=\"base\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>",
                       LEFT, y, WIDTH - RIGHT, y);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const double bottom = places[i].below ? y + LINE + 2 : y - 3;
        const struct box box = {places[i].left, bottom - LINE, places[i].left + 32, bottom};
        if (!overlaps(chart, &box)) {
            chart->taken[chart->taken_count++] = box;
            uqff_buffer_printf(out, "<text class=\"base\" x=\"%.1f\" y=\"%.1f\">base</text>\n",
                               box.left, box.bottom - 2);
            return;
        }
    }
}

/* Puts a name beside its point, at the first of several places where nothing is yet. */
static void draw_label(struct chart *chart, const struct point *p, struct uqff_buffer *out) {
    static const struct {
        double x, y;
        const char *anchor;
    } places[] = {{9, -7, "start"},   {9, 15, "start"},  {-9, -7, "end"},   {-9, 15, "end"},
                  {0, -12, "middle"}, {0, 22, "middle"}, {9, -22, "start"}, {9, 30, "start"}};
    const size_t count = sizeof places / sizeof places[0];
    const double width = LETTER * (double)uqff_text_width(p->candidate->name);
    struct box box = {0};
    size_t i = 0;
    for (; i < count; i++) {
        const double x = p->x + places[i].x;
        box.left = places[i].x > 0 ? x : places[i].x < 0 ? x - width : x - width / 2;
        box.right = box.left + width;
        box.bottom = p->y + places[i].y + 3;
        box.top = box.bottom - LINE;
        if (!overlaps(chart, &box)) {
            break;
        }
    }
    if (i == count) {
        return; /* the table has it */
    }
    chart->taken[chart->taken_count++] = box;
    uqff_buffer_printf(out, "<text class=\"name\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">",
                       p->x + places[i].x, p->y + places[i].y, places[i].anchor);
    markup_xml(out, p->candidate->name);
    uqff_buffer_printf(out, "</text>\n");
}

/* ---- all together ---------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b) {
    const struct point *x = a, *y = b;
    return x->size != y->size ? (x->size > y->size) - (x->size < y->size)
                              : strcmp(x->candidate->name, y->candidate->name);
}

static bool has_failed(const struct validation *v, const char *variant) {
    for (size_t i = 0; i < v->check_count; i++) {
        if (!v->checks[i].passed && strcmp(v->checks[i].variant, variant) == 0) {
            return true;
        }
    }
    return false;
}

static void collect(const struct validation *v, enum uqff_figure figure, struct chart *chart) {
    for (size_t i = 0; i < v->count; i++) {
        const struct candidate *candidate = &v->candidates[i];
        const double value = candidate->figures.value[figure];
        if (!isfinite(value)) {
            continue;
        }
        const struct uqff_estimate *kld = &candidate->measure.kld;
        /* A quantization's error bar is the text's, which all share: of perplexities it says
         * nothing about their differences. */
        const double error = figure == UQFF_FIGURE_KLD_MEAN ? kld->error : 0;
        chart->points[chart->count++] = (struct point){
            .candidate = candidate,
            .size = (double)candidate->bytes,
            .value = value,
            .error = error < value ? error : 0,
            .failed = has_failed(v, candidate->name),
        };
    }
    qsort(chart->points, chart->count, sizeof *chart->points, by_size);
}

static void draw(const struct validation *v, enum uqff_figure figure, struct chart *chart,
                 struct uqff_buffer *out) {
    const double base = validation_base_figure(v, figure);
    scale_sizes(chart);
    scale_values(chart, base);
    for (size_t i = 0; i < chart->count; i++) {
        struct point *p = &chart->points[i];
        p->x = place(&chart->x, p->size / chart->unit);
        p->y = place(&chart->y, p->value);
        chart->taken[chart->taken_count++] = (struct box){p->x - 6, p->y - 6, p->x + 6, p->y + 6};
    }
    uqff_buffer_printf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s by size\">\n",
                       WIDTH, HEIGHT, validation_title(figure));
    draw_axes(chart, validation_title(figure), out);
    if (!isnan(base)) {
        draw_base(chart, base, out);
    }
    draw_front(chart, uqff_figure_more_is_better(figure), out);
    for (size_t i = 0; i < chart->count; i++) {
        draw_point(chart, &chart->points[i], out);
    }
    for (size_t i = 0; i < chart->count; i++) {
        draw_label(chart, &chart->points[i], out);
    }
    uqff_buffer_printf(out, "</svg>\n");
}

void validation_chart(const struct validation *v, enum uqff_figure figure,
                      struct uqff_buffer *out) {
    struct chart chart = {.count = 0};
    chart.points = uqff_alloc_array(v->count, sizeof *chart.points);
    chart.taken = uqff_alloc_array(2 * v->count + 1, sizeof *chart.taken);
    if (chart.points == NULL || chart.taken == NULL) {
        out->failed = true;
    } else {
        collect(v, figure, &chart);
        if (chart.count > 0) {
            draw(v, figure, &chart, out);
        }
    }
    uqff_free(chart.points);
    uqff_free(chart.taken);
}
