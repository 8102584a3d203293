/* blanch compare RUN RUN...: runs that are there, on different numbers of ranks, as a table. */
#include "compare.h"
#include "report/report.h"
#include "report/scaling.h"
#include <stdio.h>
#include <stdlib.h>

static void print_rank(const struct bl_rank_result *r, int rank) {
    printf("    rank %-3d %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f %6.0f  %s, %s\n", rank, r->step_ms, bl_rank_compute_ms(r),
           r->communicate_ms, r->communicate_hidden_ms, r->load_ms, r->wait_ms, r->share, bl_shown(r->host),
           bl_shown(r->device));
}

static void print_row(const struct bl_scaling_row *row) {
    char efficiency[32] = "-";
    if (!row->first) snprintf(efficiency, sizeof efficiency, "%.2f", row->efficiency);
    if (row->first)
        printf("\n%s-%s%s%s, batch %.0f, %s\n\n%5s %10s %10s %9s %11s  %s\n", bl_shown(row->result->model),
               bl_shown(row->run->norm), *row->run->setting ? ", " : "", bl_shown(row->run->setting),
               row->result->batch, bl_shown(row->result->data), "ranks", "step ms", "images/s", "speed-up",
               "efficiency", "from");
    printf("%5d %10.2f %10.2f %9.2f %11s  %s\n", row->ranks, row->run->step_ms, row->run->images_per_s, row->speed_up,
           efficiency, bl_shown(row->result->source));
}

static void print_ranks(const struct bl_scaling_row *row) {
    if (!row->run->ranks) return;
    printf("\nWhere a step of %s goes, ms\n    %-8s %9s %9s %9s %9s %9s %9s %6s  %s\n", bl_shown(row->result->source),
           "", "step", "computes", "waits", "hidden", "loads", "device", "share", "host, device");
    for (int k = 0; k < row->run->ranks; k++) print_rank(&row->run->rank[k], k);
}

static int print_scaling(const struct bl_result *results, int count) {
    struct bl_scaling_row *rows;
    int found, code = bl_scaling_rows(results, count, &rows, &found);
    if (!code && !found)
        code = bl_fail(BLANCH_EINPUT, "these runs differ in network, norm, batch or data, or all have as many ranks: "
                                      "`blanch report` puts any side by side");
    for (int i = 0; i < found && !code; i++) print_row(&rows[i]);
    for (int i = 0; i < found && !code; i++) print_ranks(&rows[i]);
    free(rows);
    return code;
}

int bl_compare_runs(char **paths, int count) {
    struct bl_result *results = bl_calloc((size_t)count, sizeof *results);
    int code = results ? 0 : BLANCH_ENOMEM, read = 0;
    for (; read < count && !code; read++) code = bl_report_read(paths[read], &results[read]);
    if (!code) code = print_scaling(results, count);
    for (int i = 0; i < read; i++) bl_result_free(&results[i]);
    free(results);
    return code;
}
