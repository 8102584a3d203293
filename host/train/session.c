/* A training step in one place. */
#include "train/session.h"
#include "train/baseline.h"
#include <math.h>
#include <stdlib.h>

void bl_stepped_release(struct bl_stepped *stepped) {
    free(stepped->diagnoses);
    cJSON_Delete(stepped->decision.line);
    stepped->diagnoses = NULL, stepped->decision.line = NULL;
}

/* --- what all ranks say alike --------------------------------------------------------------------- */

/* The metrics become those of all ranks, and the loss of one that is not finite is everybody's. */
static int judge_loss(const struct bl_graph *graph, struct bl_stepped *out) {
    struct blanch_metrics *m = &out->metrics;
    double sums[] = {!isfinite(m->loss),
                     isfinite(m->loss) ? m->loss : 0,
                     m->count,
                     m->top1,
                     m->top5,
                     (double)m->pixels,
                     (double)m->right,
                     0};
    const struct bl_collectives *all = bl_graph_collectives(graph);
    if (all && sums[0] > 0) sums[7] = all->rank;
    int code = bl_sum_host(all, sums, BL_COUNT(sums));
    out->finite = !code && sums[0] == 0;
    out->culprit = all && sums[0] == 1 ? (int)sums[7] : -1;
    if (code || !all) return code;
    m->loss = out->finite ? sums[1] : NAN;
    m->count = (int)sums[2], m->top1 = (int)sums[3], m->top5 = (int)sums[4];
    m->pixels = (int64_t)sums[5], m->right = (int64_t)sums[6];
    return 0;
}

/* --- the parts of a step ------------------------------------------------------------------------ */

/* Decides the step's refreshes; returns what records it: what was asked for, else what the budget wants. */
static struct bl_ledger *begin(struct bl_session *s, const struct bl_step *wanted) {
    struct bl_ledger *own = s->overhead ? bl_overhead_before(s->overhead) : NULL;
    if (wanted->validate || wanted->diagnose) return NULL;
    return wanted->record && s->ledger ? s->ledger : own;
}

static int next_batch(struct bl_session *s, struct bl_batch *batch) {
    int code = bl_loader_next(s->loader, batch);
    if (!code && !batch->whole) code = bl_fail(BLANCH_EINPUT, "--data: the training images ended early");
    if (!code && s->overhead && bl_overhead_compares(s->overhead)) bl_loader_wait(s->loader);
    return code;
}

static int check(struct bl_session *s, const struct bl_step *wanted, struct bl_stepped *out) {
    struct bl_batch first = out->batch; // of a step in parts
    int code = 0;
    if (first.count > s->net->options.batch) first.count = s->net->options.batch;
    if (wanted->validate) {
        code = bl_network_validate(s->net, &first, wanted->number, &out->validation);
        out->validated = !code;
    }
    if (code || !wanted->diagnose || (code = bl_network_load(s->net, &first))) return code;
    return bl_diagnose(s->net->graph, first.count, &out->diagnoses, &out->diagnosed);
}

/* The images from `first` on, `count` of them. */
static struct bl_batch part_of(const struct blanch_network *net, const struct bl_batch *batch, int first, int count) {
    const struct bl_network_options *o = &net->options;
    struct bl_batch part = *batch;
    part.images += (size_t)first * (size_t)o->channels * (size_t)o->height * (size_t)o->width;
    part.labels += first * bl_graph_pixels(net->graph);
    if (part.others) part.others += first;
    part.count = count;
    return part;
}

/* Of a step's passes over about as many images each. */
struct pass {
    int first, count;     // this rank's images, in its batch
    int64_t place, whole; // in the batch of all ranks; the pass's images on all of them
    bool repeats;         // every rank has the same
};

static int passes_in(int images, int most) {
    return (images + most - 1) / most;
}

/* As it is divided by what the session knows of the others. */
static struct pass divided_pass(const struct bl_session *s, const struct bl_batch *batch, int p) {
    struct pass pass = {0};
    const int passes = passes_in(batch->whole, s->pass);
    for (int k = 0; k <= p; k++) {
        const int64_t begin = (int64_t)batch->whole * k / passes, end = (int64_t)batch->whole * (k + 1) / passes;
        const struct bl_own_part part = bl_divide(&s->division, (int)(end - begin));
        pass = (struct pass){pass.first + pass.count, part.count, begin + part.first, end - begin, part.whole};
    }
    return pass;
}

/* As the ranks' counts say. */
static struct pass given_pass(const struct bl_session *s, int p) {
    const struct bl_collectives *all = bl_graph_collectives(s->net->graph);
    struct pass pass = {0};
    for (int q = 0; q <= p; q++) {
        pass.place += q ? pass.whole : 0, pass.whole = 0;
        int64_t before = 0;
        for (int k = 0; k < all->ranks; k++) {
            const int64_t images = (int64_t)s->counts[k], begin = images * q / s->passes,
                          here = images * (q + 1) / s->passes - begin;
            if (k == all->rank) pass.first = (int)begin, pass.count = (int)here, before = pass.whole;
            pass.whole += here;
        }
        if (q == p) pass.place += before;
    }
    return pass;
}

static struct pass pass_of(const struct bl_session *s, const struct bl_batch *batch, int p, int passes) {
    if (s->division.ranks > 1) return divided_pass(s, batch, p);
    if (s->counts) return given_pass(s, p);
    const int64_t images = batch->count, first = images * p / passes, end = images * (p + 1) / passes;
    return (struct pass){(int)first, (int)(end - first), first, batch->count, false};
}

static int parts_of(const struct bl_session *s, const struct bl_batch *batch) {
    if (s->division.ranks > 1) return passes_in(batch->whole, s->pass);
    return s->counts ? s->passes : passes_in(batch->count, s->net->options.batch);
}

/* Of the whole batch; what each rank has of it, where only they know. */
static int count_images(struct bl_session *s, struct bl_stepped *out) {
    const struct bl_collectives *all = bl_graph_collectives(s->net->graph);
    out->images = s->division.ranks > 1 ? out->batch.whole : out->batch.count;
    if (!all || s->division.ranks > 1) return 0;
    const int ranks = all->ranks;
    if (!s->counts && !(s->counts = bl_calloc((size_t)ranks * 2, sizeof *s->counts))) return BLANCH_ENOMEM;
    double own[] = {out->batch.count, passes_in(out->batch.count, s->net->options.batch)}, *pairs = NULL;
    pairs = bl_calloc((size_t)ranks, sizeof own);
    int code = pairs ? all->gather_host(all->context, own, 2, pairs) : BLANCH_ENOMEM;
    out->images = s->passes = 0;
    for (int k = 0; k < ranks && !code; k++) {
        s->counts[k] = pairs[2 * k], out->images += (int)pairs[2 * k];
        if (pairs[2 * k + 1] > s->passes) s->passes = (int)pairs[2 * k + 1];
    }
    for (int k = 0; k < ranks && !code; k++)
        if (s->counts[k] < s->passes)
            code = bl_fail(BLANCH_EUSAGE, "rank %d gives %.0f images to a step that another makes in %d passes", k,
                           s->counts[k], s->passes);
    free(pairs);
    return code;
}

/* What losses are divided by, where it is not the images of the one pass; else 0. */
static int weigh(struct bl_session *s, const struct bl_stepped *out, double *total) {
    const struct bl_batch *batch = &out->batch;
    const struct bl_collectives *all = bl_graph_collectives(s->net->graph);
    const int64_t each = bl_graph_pixels(s->net->graph);
    *total = all || parts_of(s, batch) > 1 ? out->images : 0;
    if (!s->net->class_weight && each == 1) return 0;
    *total = 0;
    const float *weight = s->net->class_weight;
    const double share = batch->others ? (double)batch->share : 1;
    for (int64_t i = 0; i < batch->count * each; i++) {
        if (each > 1 && batch->labels[i] == BL_IGNORED_LABEL) continue;
        *total += share * (weight ? (double)weight[batch->labels[i]] : 1);
        if (batch->others) *total += (1 - share) * (double)weight[batch->others[i]];
    }
    const bool repeats = pass_of(s, batch, 0, parts_of(s, batch)).repeats;
    int code = repeats ? 0 : bl_sum_host(all, total, 1);
    if (!code && !(*total > 0)) *total = 1e-30; // of no weight: no loss and no gradient
    return code;
}

/* --- flights -------------------------------------------------------------------------------------- */

/* One wait for all batches that the device still reads, and for a step's losses. */
static int wait_for(struct bl_session *s, struct bl_flight *flight) {
    struct bl_event **events[BL_MOST_AHEAD + 2];
    int count = 0;
    if (flight) events[count++] = &flight->read, events[count++] = &flight->scaled;
    for (int i = 0; i < BL_MOST_AHEAD; i++) events[count++] = &s->flight[i].uploaded;
    return bl_await(s->net->dev, events, count);
}

/* Whatever comes of it: the message stays that of an error before. */
static void wait_out(struct bl_session *s, struct bl_flight *flight) {
    char *message = bl_strdup(blanch_error_message());
    if (wait_for(s, flight) && message) bl_fail(BLANCH_EDEVICE, "%s", message);
    free(message);
}

static void give_up(struct bl_session *s) {
    for (int i = 0; i < BL_MOST_AHEAD; i++) wait_out(s, &s->flight[i]);
    s->ahead = 0;
}

/* With room for a step's losses. */
static int next_flight(struct bl_session *s, struct bl_flight **flight) {
    struct bl_flight *f = *flight = &s->flight[(s->first + s->ahead) % BL_MOST_AHEAD];
    float *losses = f->losses;
    if (!losses) losses = bl_calloc(3 * (size_t)bl_network_largest_step(s->net), sizeof *losses);
    *f = (struct bl_flight){.losses = losses};
    return losses ? 0 : BLANCH_ENOMEM;
}

/* --- forward, backward, update -------------------------------------------------------------------- */

/* A forward and a backward pass, in parts that the network takes, of about the same size. */
static int enqueue_passes(struct bl_session *s, struct bl_flight *f, bool straight) {
    struct bl_graph *graph = s->net->graph;
    const int parts = parts_of(s, &f->out.batch);
    int code = 0;
    for (int p = 0; p < parts && !code; p++) {
        const struct pass pass = pass_of(s, &f->out.batch, p, parts);
        const int first = pass.first, count = pass.count;
        const struct bl_batch part = part_of(s->net, &f->out.batch, first, count);
        if (parts > 1) bl_graph_begin_part(graph, p, pass.place);
        if (bl_graph_collectives(graph)) bl_graph_place_batch(graph, pass.place, pass.whole);
        bl_graph_repeat_batch(graph, pass.repeats);
        code = bl_network_upload(s->net, &part, &(struct bl_uploader){s->stage, s->lender}, &f->uploaded);
        if (!code)
            code = straight && parts == 1 ? bl_graph_forward_to_update(graph, count)
                                          : bl_graph_forward(graph, count, true);
        if (!code) code = bl_graph_backward(graph, count);
        const int back = bl_lender_take_back(s->lender, &f->out.batch); // before the losses, which are waited for
        if (!code) code = back;
        bl_tag(s->net->dev, -1, BL_LOSS);
        if (!code) code = bl_graph_read_losses(graph, count, f->losses + 3 * (size_t)first, &f->read);
        if (!code && parts > 1) code = bl_graph_end_part(graph, p, parts);
    }
    if (parts > 1) bl_graph_begin_part(graph, 0, 0);
    if (code || !bl_graph_scales_loss(graph)) return code;
    code = bl_graph_unscale(graph);
    return code ? code : bl_graph_read_loss_scale(graph, f->scale, &f->scaled);
}

/* The losses are there. Each part's is what its images have in that of the step. */
static int judge(struct bl_session *s, struct bl_flight *f) {
    const int parts = parts_of(s, &f->out.batch);
    struct blanch_metrics *sum = &f->out.metrics;
    for (int p = 0; p < parts; p++) {
        const struct pass pass = pass_of(s, &f->out.batch, p, parts);
        const int count = pass.count;
        if (pass.repeats && s->division.rank) continue;
        const bool pixels = bl_graph_pixels(s->net->graph) > 1;
        const struct blanch_metrics metrics = bl_metrics_of(f->losses + 3 * (size_t)pass.first, count, pixels);
        const double of = pixels ? (double)metrics.pixels : count;
        sum->loss += f->total > 0 ? metrics.loss * of / f->total : metrics.loss;
        sum->count += metrics.count, sum->top1 += metrics.top1, sum->top5 += metrics.top5;
        sum->pixels += metrics.pixels, sum->right += metrics.right;
    }
    f->out.loss_scale = bl_loss_scale_of(f->scale);
    return judge_loss(s->net->graph, &f->out);
}

/* A loss that is not finite skips the update, so that the parameters stay what they were before it: here, or, of a step
 * that runs ahead, on the device. */
static struct bl_traffic traffic_of(const struct bl_graph *graph) {
    const struct bl_collectives *all = bl_graph_collectives(graph);
    return all ? all->traffic(all->context) : (struct bl_traffic){0};
}

static int compute(struct bl_session *s, const struct bl_step *wanted, struct bl_flight *f) {
    struct bl_graph *graph = s->net->graph;
    const struct blanch_update *update = wanted->update;
    const bool straight =
        update && !(update->clip_grad_norm > 0) && !bl_graph_scales_loss(graph); // else gradients are
                                                                                 // looked at on the way
    int code = weigh(s, &f->out, &f->total);
    bl_graph_weigh_batch(graph, f->total);
    if (!code) code = bl_graph_judge(graph, wanted->ahead);
    bl_graph_overlap(graph, update && parts_of(s, &f->out.batch) == 1);
    const double start = bl_now() - traffic_of(graph).waited;
    if (!code) code = enqueue_passes(s, f, straight);
    bl_graph_weigh_batch(graph, 0);
    f->counts = bl_graph_counts(graph);
    if (!code && !wanted->ahead && !(code = wait_for(s, f))) {
        f->out.busy_ms = 1e3 * (bl_now() - traffic_of(graph).waited - start);
        code = judge(s, f);
    }
    if (!code && !wanted->ahead && !f->out.finite) code = bl_graph_drop_sums(graph);
    if (code || !update || !(wanted->ahead || f->out.finite)) return code;
    code = bl_graph_update(graph, update);
    return code || !wanted->ahead ? code : bl_flush(s->net->dev);
}

static int account(struct bl_session *s, const struct bl_ledger *ledger, struct bl_stepped *out) {
    double start = bl_now();
    int code = bl_overhead_after(s->overhead, &out->batch, ledger, out->wall_ms - out->load_ms, &out->decision);
    out->budget_ms = 1e3 * (bl_now() - start);
    return code;
}

/* All that the host does; where it fails nothing of the step is under way any more. */
static int make_step(struct bl_session *s, const struct bl_step *wanted, struct bl_ledger *ledger,
                     struct bl_flight *f) {
    struct bl_stepped *out = &f->out;
    int code = 0;
    if (wanted->batch)
        out->batch = *wanted->batch;
    else if (!(code = wait_for(s, NULL))) // whose memory the next batch takes
        code = next_batch(s, &out->batch);
    if (ledger) bl_ledger_loaded(ledger);
    out->load_ms = 1e3 * (bl_now() - f->start);
    const bool there = !code; // this rank, where others are
    if (!code) code = count_images(s, out);
    if (!code) code = check(s, wanted, out);
    out->checks_ms = 1e3 * (bl_now() - f->start) - out->load_ms;
    out->begun = !code;
    if (!code) code = compute(s, wanted, f);
    const struct bl_collectives *all = bl_graph_collectives(s->net->graph);
    if (code && there && all) all->give_up(all->context, code);
    if (code) wait_out(s, f);
    return code;
}

bool bl_session_may_run_ahead(const struct bl_session *s, const struct bl_step *wanted) {
    return wanted->update && !wanted->validate && !wanted->diagnose && !wanted->record && !s->overhead &&
           !bl_graph_collectives(s->net->graph);
}

static int step_at_once(struct bl_session *s, const struct bl_step *wanted, struct bl_flight *f) {
    struct bl_stepped *out = &f->out;
    struct bl_ledger *ledger = begin(s, wanted);
    int code = ledger ? bl_ledger_begin(ledger) : 0;
    if (code) return code;
    f->start = bl_now();
    const struct bl_traffic before = traffic_of(s->net->graph);
    code = make_step(s, wanted, ledger, f);
    const struct bl_traffic after = traffic_of(s->net->graph);
    const double hidden = after.seconds - before.seconds - (after.waited - before.waited);
    if (ledger && hidden > 0) bl_ledger_hide(ledger, 1e3 * hidden);
    if (!code && !ledger && wanted->finish) code = bl_finish(s->net->dev);
    out->wall_ms = 1e3 * (bl_now() - f->start) - out->checks_ms;
    const int ended = ledger ? bl_ledger_end(ledger, &out->wall_ms) : 0;
    s->settled = bl_now();
    if (code || ended) return code ? code : ended;
    return s->overhead && out->finite ? account(s, ledger, out) : 0;
}

int bl_session_step(struct bl_session *s, const struct bl_step *wanted, struct bl_stepped *out) {
    struct bl_flight *f;
    *out = (struct bl_stepped){0};
    int code = wanted->batch ? bl_network_check_batch(s->net, wanted->batch) : 0;
    if (code || (code = next_flight(s, &f))) return code;
    f->start = bl_now();
    code = wanted->ahead ? make_step(s, wanted, NULL, f) : step_at_once(s, wanted, f);
    *out = f->out;
    s->ahead += wanted->ahead && !code;
    return code;
}

/* What failed, or was not finite, ends those behind it; what they have counted on the host is undone. */
int bl_session_settle(struct bl_session *s, struct bl_stepped *out) {
    struct bl_flight *f = &s->flight[s->first];
    int code = wait_for(s, f);
    if (!code) code = judge(s, f);
    const double now = bl_now();
    f->out.wall_ms = 1e3 * (now - (f->start > s->settled ? f->start : s->settled));
    s->settled = now;
    *out = f->out;
    s->first = (s->first + 1) % BL_MOST_AHEAD;
    s->ahead--;
    if (!code && out->finite) return 0;
    give_up(s);
    bl_graph_set_counts(s->net->graph, f->counts);
    const int ended = bl_graph_judge(s->net->graph, false);
    return code ? code : ended;
}

int bl_session_find_nonfinite(struct bl_session *s, const struct bl_batch *batch, const char **node,
                              const char **what) {
    struct bl_graph *graph = s->net->graph;
    const int parts = parts_of(s, batch);
    int code = 0;
    *node = NULL;
    for (int p = 0; p < parts && !*node && !code; p++) {
        const struct pass pass = pass_of(s, batch, p, parts);
        const int count = pass.count;
        const struct bl_batch part = part_of(s->net, batch, pass.first, count);
        if (parts > 1) bl_graph_begin_part(graph, p, pass.place);
        bl_graph_repeat_batch(graph, true); // each rank looks for itself
        code = bl_network_load(s->net, &part);
        if (!code) code = bl_graph_find_nonfinite(graph, count, node, what);
    }
    if (parts > 1) bl_graph_begin_part(graph, 0, 0);
    return code;
}

/* --- the session ---------------------------------------------------------------------------------- */

int bl_session_open(struct bl_session *s, struct blanch_network *net, const struct bl_session_options *options) {
    *s = (struct bl_session){.net = net, .division = options->division, .pass = options->pass};
    struct bl_baseline own = {0};
    int code = options->ledger ? bl_ledger_create(&s->ledger, net->graph) : 0;
    if (!code && options->ahead) code = bl_network_stage(net, &s->stage);
    if (code || options->budget < 0) return code;
    if (!options->baseline && (code = bl_baseline_open(&own, net))) return code;
    const struct bl_baseline *baseline = options->baseline ? options->baseline : &own;
    return bl_overhead_open(&s->overhead, net->graph, options->budget, baseline, options->budget_state);
}

int bl_session_lend(struct bl_session *s) {
    const bool alone = !bl_graph_collectives(s->net->graph), narrow = bl_graph_in(s->net->graph)->type != BL_F32;
    return s->lender || narrow || !alone ? 0 : bl_lender_create(s->net->dev, &s->lender);
}

/* Two batches are in use where steps run ahead: that of the step before is read until its losses are there. */
int bl_session_load(struct bl_session *s, struct bl_dataset *data, const struct bl_loader_options *options) {
    struct bl_loader_options with = *options;
    const bool whole = options->part.ranks < 2 && options->batch == (int)bl_graph_in(s->net->graph)->n;
    int code = whole ? bl_session_lend(s) : 0;
    if (code) return code;
    if (s->lender) with.memory = (struct bl_loader_memory){bl_lender_take, s->lender}, with.held = BL_MOST_AHEAD;
    code = bl_loader_open(&s->loader, data, &with);
    if (code != BLANCH_ELIMIT || !s->lender) return code;
    bl_lender_free(s->lender);
    s->lender = NULL;
    return bl_loader_open(&s->loader, data, options);
}

void bl_session_close(struct bl_session *s) {
    if (s->net) give_up(s);
    for (int i = 0; i < BL_MOST_AHEAD; i++) free(s->flight[i].losses);
    bl_stage_free(s->stage);
    free(s->counts);
    bl_loader_close(s->loader);
    bl_lender_free(s->lender);
    bl_overhead_close(s->overhead);
    bl_ledger_free(s->ledger);
    *s = (struct bl_session){0};
}
