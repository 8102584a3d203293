/* The ends of convolutions that write fours of results: how they are finished, and what a batch norm behind them is
 * told. For kernels that include it after activation.h with VEC 4, loop.h and conv/classes.h.
 *
 *  COLS, ROWS  items of a group along the results and along the pixels; required
 *  OUT4        whether channels of what is written are multiples of four, of a group too; required
 */
#if !defined(COLS) || !defined(ROWS) || !defined(OUT4)
#error "conv/finish.h needs COLS, ROWS and OUT4"
#endif

/* `width` results, four at most; elsewhere 0. */
float4 load_some(global const ACT *from, int width) {
#if OUT4
    return width > 0 ? LOAD_ALIGNED(from) : (float4)(0.0f);
#else
    float part[4];
    LOOP for (int l = 0; l < 4; l++) part[l] = l < width ? LOAD_ACT1(from + l) : 0.0f;
    return (float4)(part[0], part[1], part[2], part[3]);
#endif
}

void store_some(float4 value, global ACT *to, int width) {
#if OUT4
    if (width > 0) STORE_ALIGNED(value, to);
#else
    const float part[4] = {value.s0, value.s1, value.s2, value.s3};
    LOOP for (int l = 0; l < 4; l++) if (l < width) STORE_ACT1(part[l], to + l);
#endif
}

float4 finish_some(float4 value, global const ACT *out, global const ACT *beside, int width, const struct finish f) {
    if (f.accumulate) value += load_some(out, width);
    if (f.has_addend) value += load_some(beside, width);
    if (f.activation == 1) value = RELU(value);
    if (f.activation == 2) value = RELU6(value);
    if (f.cut) {
        const float4 y = load_some(beside, width);
        value = RELU_GRADIENT(y, value);
    }
    return value;
}

/* The sum of the items' values that have the same column; `room` holds a value of each item. */
float4 sum_rows(float4 value, local float4 *room, int col, int row) {
    barrier(CLK_LOCAL_MEM_FENCE);
    room[row * COLS + col] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    float4 sum = (float4)(0.0f);
    LOOP4 for (int r = 0; r < ROWS; r++) sum += room[r * COLS + col];
    return sum;
}

void put_moments(float4 value, global float *to, int width) {
    const float part[4] = {value.s0, value.s1, value.s2, value.s3};
    LOOP for (int l = 0; l < 4; l++) if (l < width) to[l] = part[l];
}

float4 load_bias(global const float *bias, int width) {
#if OUT4
    return width > 0 ? *(global const float4 *)bias : (float4)(0.0f);
#else
    float part[4];
    LOOP for (int l = 0; l < 4; l++) part[l] = l < width ? bias[l] : 0.0f;
    return (float4)(part[0], part[1], part[2], part[3]);
#endif
}
