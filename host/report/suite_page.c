/* The page of suites: what each file is, then the devices in the order of each row. */
#include "html.h"
#include "base/text.h"
#include "report/suite.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry { // a device's figure in a row
    const struct bl_result *result;
    const struct bl_suite_row *row;
    double merit; // the larger the better; NAN: it has none, or may not be ranked
};

struct page {
    const struct bl_result *results;
    int count;
    struct entry *entries;                           // (count)
    bool sustained, joules, power, price, precision; // any file tells of them; precision: others than fp32
};

/* --- the files -------------------------------------------------------------------------------- */

/* What tells it from others of its name; of one that was measured twice the date. */
static void put_device(struct bl_html *html, const struct page *page, const struct bl_result *result) {
    bool twice = false;
    for (int i = 0; i < page->count; i++)
        twice |= &page->results[i] != result && bl_same_place(&page->results[i], 0, result, 0);
    bl_html_device(html, page->results, page->count, result, 0);
    if (!twice) return;
    bl_html(html, " · ");
    bl_html_text(html, result->header.date);
}

static int count_status(const struct bl_suite_result *suite, const char *status) {
    int found = 0;
    for (int i = 0; i < suite->rows; i++) found += !strcmp(suite->row[i].status, status);
    return found;
}

static double sum_left(const struct bl_suite_result *suite) {
    double sum = NAN;
    for (int i = 0; i < suite->rows; i++) {
        double left = suite->row[i].shapes_left;
        if (!isnan(left)) sum = isnan(sum) ? left : sum + left;
    }
    return sum;
}

static void put_checks(struct bl_html *html, const struct bl_suite_result *suite) {
    int passed = 0;
    for (int i = 0; i < suite->checks; i++) passed += suite->check[i].passed == 1;
    bl_html(html, "<td>%d of %d", passed, suite->checks);
    if (!isnan(suite->cases_passed))
        bl_html(html, ", cases %s of %s", bl_fixed(suite->cases_passed, 0),
                bl_fixed(suite->cases_passed + suite->cases_failed, 0));
    bl_html(html, "</td>");
}

static void put_file(struct bl_html *html, const struct page *page, const struct bl_result *result) {
    const struct bl_suite_result *suite = result->suite;
    const struct bl_limits *limits = &suite->kept;
    char day[sizeof "2026-11-29"];
    bl_html(html, "<tr><td class=\"wide\">");
    put_device(html, page, result);
    bl_html(html, "</td><td>");
    bl_html_text(html, suite->set);
    bl_html(html, "%s</td>", suite->complete == 1 ? "" : ", in part");
    bl_html_cell(html, count_status(suite, "measured"), bl_fixed(count_status(suite, "measured"), 0));
    bl_html_cell(html, count_status(suite, "failed"), bl_fixed(count_status(suite, "failed"), 0));
    put_checks(html, suite);
    bl_html_cell(html, sum_left(suite), isnan(sum_left(suite)) ? "all" : bl_fixed(sum_left(suite), 0));
    bl_html_cell(html, limits->operations, limits->operations > 0 ? bl_fixed(1e-9 * limits->operations, 0) : "–");
    bl_html_cell(html, limits->bytes, limits->bytes > 0 ? bl_fixed(1e-9 * limits->bytes, 1) : "–");
    bl_html(html, "<td>%s, %s</td><td>", bl_fixed(suite->load_start, 1), bl_fixed(suite->load_end, 1));
    snprintf(day, sizeof day, "%.*s", (int)bl_text_fit(result->header.date, sizeof day), result->header.date);
    bl_html_text(html, day);
    bl_html(html, "</td><td>");
    bl_html_text(html, result->header.version);
    bl_html(html, "</td><td class=\"wide soft\">");
    bl_html_text(html, result->source);
    bl_html(html, "</td></tr>\n");
}

/* What a reader has to know of a file, in words. */
static void put_remarks(struct bl_html *html, const struct page *page, const struct bl_result *result) {
    const struct bl_suite_result *suite = result->suite;
    const char *const texts[] = {suite->note, suite->energy};
    static const char *const heads[] = {"note", "energy from"};
    char why[400];
    bool counts = bl_suite_counts(suite, why, sizeof why);
    if (counts && !*suite->note && !*suite->energy && isnan(suite->price) && isnan(suite->power)) return;
    bl_html(html, "<dt>");
    put_device(html, page, result);
    bl_html(html, "</dt><dd>");
    if (!counts) {
        bl_html(html, "not ranked: ");
        bl_html_text(html, why);
        bl_html(html, ". ");
    }
    for (int i = 0; i < BL_COUNT(texts); i++) {
        if (!*texts[i]) continue;
        bl_html(html, "%s: ", heads[i]);
        bl_html_text(html, texts[i]);
        bl_html(html, ". ");
    }
    if (!isnan(suite->power)) bl_html(html, "%s W as given. ", bl_whole(suite->power));
    if (!isnan(suite->price)) bl_html(html, "Price %s as given.", bl_whole(suite->price));
    bl_html(html, "</dd>\n");
}

static void put_files(struct bl_html *html, const struct page *page) {
    bl_html(html, "<div class=\"scroll\" tabindex=\"0\"><table class=\"sort\" "
                  "id=\"files\"><thead><tr><th>device</th><th>set</th><th>figures</th><th>failed</th><th>checks "
                  "passed</th><th>shapes by rule</th><th>Gop/s</th><th>GB/s</th><th>load before, "
                  "after</th><th>date</th><th>Blanch</th><th>from</th></tr></thead>\n<tbody>\n");
    for (int i = 0; i < page->count; i++) put_file(html, page, &page->results[i]);
    bl_html(html, "</tbody></table></div>\n<dl>\n");
    for (int i = 0; i < page->count; i++) put_remarks(html, page, &page->results[i]);
    bl_html(html, "</dl>\n");
}

/* --- ranking ---------------------------------------------------------------------------------- */

static int by_merit(const void *a, const void *b) {
    const struct entry *one = a, *other = b;
    bool left = isnan(one->merit), right = isnan(other->merit);
    if (left || right) return left - right;
    return one->merit < other->merit ? 1 : one->merit > other->merit ? -1 : 0;
}

static bool is_accuracy(const struct bl_suite_row *row) {
    return !strcmp(row->mode, "accuracy");
}

static double merit(const struct bl_result *result, const struct bl_suite_row *row) {
    char why[400];
    if (strcmp(row->status, "measured") || !bl_suite_counts(result->suite, why, sizeof why)) return NAN;
    double value = is_accuracy(row) ? 1 / row->target_s : row->images_per_s;
    return isfinite(value) && value > 0 ? value : NAN;
}

/* Those that have the row, the best first; equal ones as they were given. */
static int rank(const struct page *page, const char *name) {
    int found = 0;
    for (int i = 0; i < page->count; i++) {
        const struct bl_result *result = &page->results[i];
        const struct bl_suite_row *row = bl_suite_find(result->suite, name);
        if (row) page->entries[found++] = (struct entry){result, row, merit(result, row)};
    }
    qsort(page->entries, (size_t)found, sizeof *page->entries, by_merit);
    return found;
}

static const char *quotient(double value, double by) {
    return by > 0 ? bl_ms(value / by) : "–";
}

static void put_figures(struct bl_html *html, const struct page *page, const struct entry *entry, double best) {
    const struct bl_suite_row *row = entry->row;
    const struct bl_suite_result *suite = entry->result->suite;
    double share = 100 * entry->merit / best, per_joule = 1 / row->joules_per_image;
    bl_html_cell(html, row->images_per_s,
                 row->images_per_s < 100 ? bl_ms(row->images_per_s) : bl_whole(row->images_per_s));
    bl_html_cell(html, share, isnan(share) ? "–" : bl_fixed(share, 0));
    bl_html_cell(html, row->ms, bl_ms(row->ms));
    bl_html_cell(html, bl_suite_spread(row), bl_fixed(bl_suite_spread(row), 1));
    if (page->sustained)
        bl_html_cell(html, row->sustained_images_per_s,
                     isfinite(row->sustained_images_per_s) ? bl_whole(row->sustained_images_per_s) : "–");
    if (page->joules) bl_html_cell(html, per_joule, row->joules_per_image > 0 ? bl_ms(per_joule) : "–");
    if (page->power) bl_html_cell(html, row->images_per_s / suite->power, quotient(row->images_per_s, suite->power));
    if (page->price)
        bl_html_cell(html, row->images_per_s / suite->price, quotient(1000 * row->images_per_s, suite->price));
    bl_html(html, "<td class=\"wide\">");
    bl_html_text(html, strcmp(row->status, "measured") ? row->status
                       : !strcmp(row->ended, "spread") ? "quartiles"
                                                       : row->ended);
    if (*row->reason) bl_html(html, ": ");
    bl_html_text(html, row->reason);
    bl_html(html, "</td>");
}

static void put_seconds(struct bl_html *html, const struct entry *entry, double best) {
    const struct bl_suite_row *row = entry->row;
    double share = 100 * entry->merit / best;
    bl_html_cell(html, row->target_s, bl_ms(row->target_s));
    bl_html_cell(html, share, isnan(share) ? "–" : bl_fixed(share, 0));
    bl_html(html, "<td>%s to %s</td>", bl_ms(row->target_s_least), bl_ms(row->target_s_most));
    bl_html(html, "<td>%s of %s</td><td class=\"wide\">", bl_fixed(row->reached, 0), bl_fixed(row->runs, 0));
    if (strcmp(row->status, "measured")) {
        bl_html_text(html, row->status);
        bl_html(html, ": ");
        bl_html_text(html, row->reason);
    }
    bl_html(html, "</td>");
}

/* "ND --block 16, batch 128". */
static void put_label(struct bl_html *html, const struct page *page, const struct bl_suite_row *row) {
    const bool nd = !strcmp(row->norm, "nd");
    bl_html(html, "<span class=\"%s\">", nd ? "nd" : "bn");
    bl_html_text(html, nd ? "ND" : !strcmp(row->norm, "bn") ? "BN" : row->norm);
    if (*row->setting) bl_html(html, " ");
    bl_html_text(html, row->setting);
    bl_html(html, "</span>%s, batch %s", strcmp(row->mode, "inference") ? "" : ", inference", bl_whole(row->batch));
    if (page->precision) bl_html(html, ", "), bl_html_text(html, row->precision);
}

/* By more than the quartiles of either lie apart. */
static bool differ(const struct entry *better, const struct entry *entry) {
    const double percent = 100 * (better->merit / entry->merit - 1);
    return !(percent <= fmax(bl_suite_spread(better->row), bl_suite_spread(entry->row)));
}

static void put_ranking(struct bl_html *html, const struct page *page, const char *name) {
    int found = rank(page, name), place = 0;
    const double best = found ? page->entries[0].merit : NAN;
    const struct entry *first = NULL; // of those that share the place
    for (int i = 0; i < found; i++) {
        const struct entry *entry = &page->entries[i];
        const bool ranked = !isnan(entry->merit);
        if (ranked && (!first || differ(first, entry))) first = entry, place = i + 1;
        bl_html(html, "<tr><td>");
        put_label(html, page, entry->row);
        bl_html(html, "</td>");
        bl_html_cell(html, ranked ? place : 1e6, ranked ? bl_fixed(place, 0) : "–");
        bl_html(html, "<td class=\"wide\">");
        put_device(html, page, entry->result);
        bl_html(html, "</td>");
        if (is_accuracy(entry->row))
            put_seconds(html, entry, best);
        else
            put_figures(html, page, entry, best);
        bl_html(html, "</tr>\n");
    }
}

/* A row of an earlier file has this name already. */
static bool was_seen(const struct bl_result *results, int file, const char *name) {
    for (int i = 0; i < file; i++)
        if (bl_suite_find(results[i].suite, name)) return true;
    return false;
}

static void put_heads(struct bl_html *html, const struct page *page, bool accuracy) {
    bl_html(html,
            "<div class=\"scroll\" tabindex=\"0\"><table class=\"sort ranks\"><thead><tr><th>row</th><th>rank</th>"
            "<th>device</th>");
    if (accuracy)
        bl_html(html, "<th>seconds</th><th>%% of best</th><th>least to most</th><th>runs</th><th>why not</th>");
    else
        bl_html(html,
                "<th>images/s</th><th>%% of best</th><th>ms</th><th>quartiles apart %%</th>%s%s%s%s<th>ended "
                "by</th>",
                page->sustained ? "<th>sustained images/s</th>" : "", page->joules ? "<th>images/J</th>" : "",
                page->power ? "<th>images/s per W given</th>" : "",
                page->price ? "<th>images/s per 1,000 of price</th>" : "");
    bl_html(html, "</tr></thead>\n<tbody>\n");
}

/* model NULL: the rows of time to accuracy, of all networks. */
static void put_table(struct bl_html *html, const struct page *page, const char *model) {
    put_heads(html, page, !model);
    for (int i = 0; i < page->count; i++)
        for (int r = 0; r < page->results[i].suite->rows; r++) {
            const struct bl_suite_row *row = &page->results[i].suite->row[r];
            bool wanted = model ? !is_accuracy(row) && !strcmp(row->model, model) : is_accuracy(row);
            if (wanted && !was_seen(page->results, i, row->name)) put_ranking(html, page, row->name);
        }
    bl_html(html, "</tbody></table></div>\n");
}

static bool model_seen(const struct bl_result *results, int file, int row) {
    const char *model = results[file].suite->row[row].model;
    for (int i = 0; i <= file; i++)
        for (int r = 0; r < (i < file ? results[i].suite->rows : row); r++)
            if (!is_accuracy(&results[i].suite->row[r]) && !strcmp(results[i].suite->row[r].model, model)) return true;
    return false;
}

static void put_tables(struct bl_html *html, const struct page *page) {
    bool accuracy = false;
    for (int i = 0; i < page->count; i++)
        for (int r = 0; r < page->results[i].suite->rows; r++) {
            const struct bl_suite_row *row = &page->results[i].suite->row[r];
            accuracy |= is_accuracy(row);
            if (is_accuracy(row) || model_seen(page->results, i, r)) continue;
            bl_html(html, "<h2>");
            bl_html_text(html, row->model);
            bl_html(html, "</h2>\n");
            put_table(html, page, row->model);
        }
    if (!accuracy) return;
    bl_html(html, "<h2>Seconds of training to an accuracy</h2>\n");
    put_table(html, page, NULL);
}

static void look(struct page *page) {
    for (int i = 0; i < page->count; i++) {
        const struct bl_suite_result *suite = page->results[i].suite;
        page->power |= !isnan(suite->power);
        page->price |= !isnan(suite->price);
        for (int r = 0; r < suite->rows; r++) {
            page->sustained |= isfinite(suite->row[r].sustained_images_per_s);
            page->joules |= suite->row[r].joules_per_image > 0;
            page->precision |= strcmp(suite->row[r].precision, "fp32") != 0;
        }
    }
}

void bl_html_suites(struct bl_html *html, const struct bl_result *results, int count) {
    struct page page = {.results = results, .count = count};
    if (!(page.entries = bl_calloc((size_t)count, sizeof *page.entries))) {
        html->error = BLANCH_ENOMEM;
        return;
    }
    look(&page);
    bl_html(html,
            "<p class=\"eyebrow\">Blanch · suite %s</p>\n<h1>%s</h1>\n"
            "<p>Each row is a network with its normalisation, setting and batch, the same on every device. A training "
            "step is whole, update included; images are made up. The figure is the median of steps (of a budget, whose "
            "steps differ, the mean); it ends when the quartiles lie within 3&nbsp;%% of it, or by time. What is not "
            "comparable, or computed wrongly, has no rank; devices that differ by less than their quartiles lie apart "
            "share "
            "one.</p>\n",
            bl_fixed(results[0].suite->version, 0), count > 1 ? "Devices side by side" : "One device");
    put_files(html, &page);
    put_tables(html, &page);
    free(page.entries);
}
