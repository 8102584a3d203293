/* The public calls that tell what a network is, and where its time goes. */
#include "train/public.h"
#include "train/session.h"
#include <math.h>
#include <string.h>

_Static_assert((int)BL_PHASES <= (int)BLANCH_PHASES, "a program has too little room for a row of the ledger");

/* --- the network -------------------------------------------------------------------------------- */

/* What is not in the state dict is nobody's business. */
static int count_params(const struct bl_graph *graph) {
    int count = 0;
    for (int i = 0; i < bl_graph_params(graph); i++) count += !bl_graph_param(graph, i)->private_state;
    return count;
}

static double multiply_adds(const struct bl_graph *graph) {
    double total = 0;
    for (int i = 0; i < bl_graph_nodes(graph); i++)
        if (!bl_graph_node(graph, i)->idle) total += bl_graph_node(graph, i)->multiply_adds;
    return total;
}

int blanch_network_info(const struct blanch_network *network, struct blanch_network_info *info) {
    int code = bl_given(network, __func__);
    if (code) return code;
    const struct bl_network_options *o = &network->options;
    const struct bl_graph *graph = network->graph;
    const struct blanch_network_info found = {.model = network->model->name,
                                              .optimiser = bl_graph_optimiser(graph)->name,
                                              .norm = o->norm,
                                              .precision = o->precision,
                                              .classes = o->classes,
                                              .channels = o->channels,
                                              .height = o->height,
                                              .width = o->width,
                                              .batch = bl_network_largest_step(network),
                                              .least_batch = bl_network_least_batch(network),
                                              .inference = o->inference,
                                              .parameters = count_params(graph),
                                              .layers = bl_graph_nodes(graph),
                                              .trainable = bl_graph_trainable(graph),
                                              .steps = (int64_t)bl_graph_counts(graph).steps,
                                              .multiply_adds = multiply_adds(graph),
                                              .device_bytes = bl_graph_plan(graph)->total};
    return bl_give(info, &found, sizeof found, "blanch_network_info");
}

static int check_index(int index, int count, const char *what) {
    if (index >= 0 && index < count) return 0;
    return bl_fail(BLANCH_EUSAGE, "there is no %s %d: they are 0 to %d", what, index, count - 1);
}

int blanch_network_layer(const struct blanch_network *network, int index, struct blanch_layer *layer) {
    int code = bl_given(network, __func__);
    if (!code) code = check_index(index, bl_graph_nodes(network->graph), "layer");
    if (code) return code;
    const struct bl_node *node = bl_graph_node(network->graph, index);
    struct blanch_layer found = {.name = node->name,
                                 .op = node->op->name,
                                 .channels = (int)node->out[0]->c,
                                 .height = (int)node->out[0]->h,
                                 .width = (int)node->out[0]->w,
                                 .multiply_adds = node->idle ? 0 : node->multiply_adds};
    for (int i = 0; i < 3; i++) found.engine[i] = node->engine[i];
    return bl_give(layer, &found, sizeof found, "blanch_layer");
}

/* --- parameters and buffers ---------------------------------------------------------------------- */

/* Of the state dict; NULL: index is none. */
static struct bl_param *find_param(const struct blanch_network *net, int index) {
    for (int i = 0; i < bl_graph_params(net->graph) && index >= 0; i++) {
        struct bl_param *param = bl_graph_param(net->graph, i);
        if (!param->private_state && index-- == 0) return param;
    }
    return NULL;
}

static int take_param(const struct blanch_network *net, int index, const char *call, struct bl_param **param) {
    int code = bl_given(net, call);
    if (!code && !(*param = find_param(net, index)))
        code = check_index(index, count_params(net->graph), "parameter or buffer");
    return code;
}

int blanch_parameter_find(const struct blanch_network *network, const char *name) {
    int code = bl_given(network && name, __func__);
    if (code) return code;
    for (int i = 0, at = 0; i < bl_graph_params(network->graph); i++) {
        const struct bl_param *param = bl_graph_param(network->graph, i);
        if (!param->private_state && !strcmp(param->name, name)) return at;
        at += !param->private_state;
    }
    return bl_fail(BLANCH_EUSAGE, "%s has no parameter or buffer '%s'", network->model->name, name);
}

int blanch_parameter_info(const struct blanch_network *network, int index, struct blanch_parameter_info *info) {
    struct bl_param *param;
    int code = take_param(network, index, __func__, &param);
    if (code) return code;
    struct blanch_parameter_info found = {.name = param->name,
                                          .dims = param->counter ? 0 : param->dims,
                                          .count = param->counter ? 1 : param->data.count,
                                          .trainable = param->trainable && !param->node->idle && !param->frozen,
                                          .counter = param->counter};
    for (int i = 0; i < found.dims; i++) found.shape[i] = param->shape[i];
    return bl_give(info, &found, sizeof found, "blanch_parameter_info");
}

static int check_values(const struct bl_param *param, int64_t count) {
    const int64_t wanted = param->counter ? 1 : param->data.count;
    if (count == wanted) return 0;
    return bl_fail(BLANCH_EUSAGE, "%s has %lld values, not %lld", param->name, (long long)wanted, (long long)count);
}

int blanch_parameter_read(struct blanch_network *network, int index, float *values, int64_t count) {
    struct bl_param *param;
    int code = take_param(network, index, __func__, &param);
    if (!code) code = bl_given(values, __func__);
    if (!code) code = check_values(param, count);
    if (code || !param->counter) return code ? code : bl_param_read(param, values);
    *values = (float)param->value;
    return 0;
}

static int write_counter(struct bl_graph *graph, struct bl_param *param, int64_t value) {
    if (value < 0) return bl_fail(BLANCH_EUSAGE, "%s counts from 0: it cannot be %lld", param->name, (long long)value);
    param->value = value;
    bl_graph_touch(graph);
    return 0;
}

static int check_finite(const struct bl_param *param, const float *values, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return bl_fail(BLANCH_EINPUT, "%s: value %lld is not finite (%g)", param->name, (long long)i,
                           (double)values[i]);
    return 0;
}

int blanch_parameter_write(struct blanch_network *network, int index, const float *values, int64_t count) {
    struct bl_param *param;
    int code = take_param(network, index, __func__, &param);
    if (!code) code = bl_given(values, __func__);
    if (!code) code = check_values(param, count);
    if (!code) code = check_finite(param, values, count);
    if (code) return code;
    if (param->counter) {
        const bool whole = *values == floorf(*values) && fabsf(*values) < 1e15f;
        return whole ? write_counter(network->graph, param, (int64_t)*values)
                     : bl_fail(BLANCH_EUSAGE, "%s is a whole number, not %g", param->name, (double)*values);
    }
    code = bl_param_write(param, values);
    bl_graph_touch(network->graph);
    return code;
}

static int take_counter(const struct blanch_network *net, int index, const char *call, struct bl_param **param) {
    int code = take_param(net, index, call, param);
    if (code || (*param)->counter) return code;
    return bl_fail(BLANCH_EUSAGE, "%s is no counter", (*param)->name);
}

int blanch_counter_read(const struct blanch_network *network, int index, int64_t *value) {
    struct bl_param *param;
    int code = take_counter(network, index, __func__, &param);
    if (!code) code = bl_given(value, __func__);
    if (!code) *value = param->value;
    return code;
}

int blanch_counter_write(struct blanch_network *network, int index, int64_t value) {
    struct bl_param *param;
    int code = take_counter(network, index, __func__, &param);
    return code ? code : write_counter(network->graph, param, value);
}

/* --- the ledger --------------------------------------------------------------------------------- */

int blanch_network_record(struct blanch_network *network, bool record) {
    int code = bl_given(network, __func__);
    if (!code && !network->session)
        code = bl_fail(BLANCH_EUSAGE, "a network made for inference has no steps to record");
    if (code) return code;
    struct bl_session *session = network->session;
    if (record && !session->ledger) code = bl_ledger_create(&session->ledger, network->graph);
    network->record = record && !code;
    return code;
}

const char *blanch_phase_name(int index) {
    return index >= 0 && index < BL_PHASES ? bl_phase_names[index] : NULL;
}

static const struct bl_ledger *ledger_of(const struct blanch_network *net) {
    return net->session ? net->session->ledger : NULL;
}

int blanch_network_ledger(const struct blanch_network *network, struct blanch_ledger *ledger) {
    int code = bl_given(network, __func__);
    if (code) return code;
    const struct bl_ledger *own = ledger_of(network);
    struct blanch_ledger found = {.rows = bl_graph_nodes(network->graph) + 1};
    if (own && bl_ledger_steps(own) > 0) {
        found.steps = bl_ledger_steps(own);
        found.step_ms = bl_ledger_step_ms(own);
        found.min_ms = bl_ledger_min_ms(own);
        found.covered = bl_ledger_covered(own);
    }
    return bl_give(ledger, &found, sizeof found, "blanch_ledger");
}

int blanch_network_ledger_row(const struct blanch_network *network, int row, struct blanch_ledger_row *of) {
    int code = bl_given(network, __func__);
    if (!code) code = check_index(row, bl_graph_nodes(network->graph) + 1, "row");
    if (code) return code;
    const struct bl_ledger *own = ledger_of(network);
    const struct bl_node *node = row < bl_graph_nodes(network->graph) ? bl_graph_node(network->graph, row) : NULL;
    struct blanch_ledger_row found = {.name = node ? node->name : "(step)", .op = node ? node->op->name : ""};
    for (int phase = 0; phase < BL_PHASES && own && bl_ledger_steps(own) > 0; phase++) {
        found.ms[phase] = bl_ledger_ms(own, row, phase);
        found.total_ms += found.ms[phase];
    }
    return bl_give(of, &found, sizeof found, "blanch_ledger_row");
}

/* --- the overhead budget ------------------------------------------------------------------------ */

static const struct bl_budget *budget_of(const struct blanch_network *net) {
    const struct bl_session *session = net->session;
    return session && session->overhead ? bl_overhead_budget(session->overhead) : NULL;
}

int blanch_network_budget(const struct blanch_network *network, struct blanch_budget *budget) {
    int code = bl_given(network, __func__);
    if (code) return code;
    const struct bl_budget *b = budget_of(network);
    const bool planned = b && b->planned;
    const struct blanch_budget found = {.allowed = b ? 100 * b->share : NAN,
                                        .held = planned ? 100 * bl_budget_held(b) : NAN,
                                        .least = planned ? 100 * bl_budget_floor(b) : NAN,
                                        .layers = b ? b->count : 0};
    return bl_give(budget, &found, sizeof found, "blanch_budget");
}

int blanch_network_budget_layer(const struct blanch_network *network, int index, struct blanch_budget_layer *layer) {
    int code = bl_given(network, __func__);
    if (code) return code;
    const struct bl_budget *b = budget_of(network);
    if (!b) return bl_fail(BLANCH_EUSAGE, "%s has no overhead budget", network->model->name);
    if ((code = check_index(index, b->count, "layer of the budget"))) return code;
    const struct blanch_budget_layer found = {.name = b->layer[index].name,
                                              .interval = b->planned ? bl_budget_interval(b, index) : NAN};
    return bl_give(layer, &found, sizeof found, "blanch_budget_layer");
}
