#include "scaling.h"
#include "html.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

int bl_ranks_of(const struct bl_run_result *run) {
    return run->ranks ? run->ranks : 1;
}

double bl_rank_compute_ms(const struct bl_rank_result *rank) {
    return rank->step_ms - rank->communicate_ms - rank->load_ms - rank->wait_ms;
}

/* --- groups ------------------------------------------------------------------------------------- */

static bool same_group(const struct bl_scaling_row *a, const struct bl_scaling_row *b) {
    const char *one = a->result->data ? a->result->data : "", *other = b->result->data ? b->result->data : "";
    return bl_same_task(a->result, b->result) && !strcmp(one, other) && !strcmp(a->run->norm, b->run->norm) &&
           !strcmp(a->run->setting, b->run->setting);
}

static bool has_another(const struct bl_scaling_row *all, int count, const struct bl_scaling_row *row) {
    for (int i = 0; i < count; i++)
        if (all[i].ranks != row->ranks && same_group(&all[i], row)) return true;
    return false;
}

/* Those of the row's group that are not placed yet, by their ranks, to the end of `to`. */
static int place_group(const struct bl_scaling_row *all, bool *placed, int count, int at, struct bl_scaling_row *to) {
    int first = -1, made = 0;
    const struct bl_scaling_row *own = &all[at];
    for (;;) {
        int next = -1;
        for (int i = at; i < count; i++)
            if (!placed[i] && same_group(&all[i], own) && (next < 0 || all[i].ranks < all[next].ranks)) next = i;
        if (next < 0) return made;
        if (first < 0) first = next;
        placed[next] = true;
        to[made] = all[next];
        to[made].first = next == first;
        to[made].speed_up = all[next].run->images_per_s / all[first].run->images_per_s;
        to[made].efficiency = to[made].speed_up * all[first].ranks / all[next].ranks;
        made++;
    }
}

int bl_scaling_rows(const struct bl_result *results, int count, struct bl_scaling_row **rows, int *found) {
    int runs = 0, kept = 0;
    for (int i = 0; i < count; i++) runs += results[i].runs;
    struct bl_scaling_row *all = bl_calloc((size_t)runs + 1, sizeof *all),
                          *sorted = bl_calloc((size_t)runs + 1, sizeof *all);
    bool *placed = bl_calloc((size_t)runs + 1, sizeof *placed);
    *rows = sorted, *found = 0;
    for (int i = 0; i < count && all; i++)
        for (int r = 0; r < results[i].runs; r++)
            if (results[i].run[r].images_per_s > 0)
                all[kept++] = (struct bl_scaling_row){
                    .result = &results[i], .run = &results[i].run[r], .ranks = bl_ranks_of(&results[i].run[r])};
    const bool room = all && sorted && placed;
    for (int i = 0; i < kept && room; i++)
        if (!placed[i] && has_another(all, kept, &all[i])) *found += place_group(all, placed, kept, i, sorted + *found);
    free(all), free(placed);
    return room ? 0 : BLANCH_ENOMEM;
}

/* --- the page ------------------------------------------------------------------------------------- */

static double mean_part(const struct bl_run_result *run, size_t offset) {
    double sum = 0;
    for (int k = 0; k < run->ranks; k++)
        sum += *(const double *)((const char *)&run->rank[k] + offset) / run->rank[k].step_ms;
    return run->ranks ? 100 * sum / run->ranks : NAN;
}

static void put_row(struct bl_html *html, const struct bl_scaling_row *row) {
    char label[120];
    const double waits = mean_part(row->run, offsetof(struct bl_rank_result, communicate_ms)),
                 hides = mean_part(row->run, offsetof(struct bl_rank_result, communicate_hidden_ms));
    bl_run_label(row->run, label, sizeof label);
    bl_html(html, "<tr><td>");
    bl_html_text(html, row->result->model);
    bl_html(html, " ");
    bl_html_text(html, label);
    bl_html(html, "</td>");
    bl_html_cell(html, row->result->batch, bl_whole(row->result->batch));
    bl_html_cell(html, row->ranks, bl_whole(row->ranks));
    bl_html_cell(html, row->run->step_ms, bl_ms(row->run->step_ms));
    bl_html_cell(html, row->run->images_per_s, bl_ms(row->run->images_per_s));
    bl_html_cell(html, row->speed_up, bl_fixed(row->speed_up, 2));
    bl_html_cell(html, row->efficiency, row->first ? "–" : bl_fixed(row->efficiency, 2));
    bl_html_cell(html, waits, bl_fixed(waits, 1));
    bl_html_cell(html, hides, bl_fixed(hides, 1));
    bl_html(html, "<td class=\"wide soft\">");
    bl_html_text(html, row->result->source);
    bl_html(html, "</td></tr>\n");
}

int bl_html_scaling(struct bl_html *html, const struct bl_result *results, int count) {
    struct bl_scaling_row *rows;
    int found, code = bl_scaling_rows(results, count, &rows, &found);
    if (!code && found) {
        bl_html(html, "<h2>Scaling</h2>\n<div class=\"scroll\" tabindex=\"0\"><table class=\"sort\" id=\"scaling\">"
                      "<thead><tr><th>network</th><th>batch</th><th>ranks</th><th>step ms</th><th>images/s</th>"
                      "<th>speed-up</th><th>efficiency</th><th>%% waiting for others</th><th>%% hidden</th>"
                      "<th>from</th></tr></thead>\n<tbody>\n");
        for (int i = 0; i < found; i++) put_row(html, &rows[i]);
        bl_html(html, "</tbody></table></div>\n<p class=\"soft\">Speed-up: images a second over those of the run with "
                      "the fewest ranks. Efficiency: that over how many times the ranks it has. Waiting and hidden: "
                      "what ranks exchange, as the step waits for it and behind the backward pass, means of the "
                      "ranks.</p>\n");
    }
    free(rows);
    return code ? code : html->error;
}

void bl_html_ranks(struct bl_html *html, const struct bl_run_result *run) {
    if (!run->ranks) return;
    bl_html(html,
            "<h2>What each rank does in a step</h2>\n<div class=\"scroll\" tabindex=\"0\"><table class=\"sort each\">"
            "<thead><tr><th>rank</th><th>host</th><th>device</th><th>share</th><th>step ms</th>"
            "<th>computes ms</th><th>waits for others ms</th><th>hidden ms</th><th>loads ms</th>"
            "<th>waits for the device ms</th></tr></thead>\n<tbody>\n");
    for (int k = 0; k < run->ranks; k++) {
        const struct bl_rank_result *r = &run->rank[k];
        const double ms[] = {r->step_ms, bl_rank_compute_ms(r), r->communicate_ms, r->communicate_hidden_ms, r->load_ms,
                             r->wait_ms};
        bl_html(html, "<tr><td data-v=\"%d\">%d</td><td class=\"wide\">", k, k);
        bl_html_text(html, r->host);
        bl_html(html, "</td><td class=\"wide\">");
        bl_html_text(html, r->device);
        bl_html(html, "</td>");
        bl_html_cell(html, r->share, bl_whole(r->share));
        for (int i = 0; i < BL_COUNT(ms); i++) bl_html_cell(html, ms[i], bl_ms(ms[i]));
        bl_html(html, "</tr>\n");
    }
    bl_html(html, "</tbody></table></div>\n<p class=\"soft\">The rank that others wait for waits least.</p>\n");
}
