/* Some of a tile's TN outputs, at the edge of the channels. Needs activation.h with VEC = TN and loop.h. */
/* The first `width` of TN values; zeros beyond. */
vec load_some(global const float *from, int width) {
    if (width >= TN) return LOAD(from);
    float part[TN];
    for (int l = 0; l < TN; l++) part[l] = l < width ? from[l] : 0.0f;
    return LOAD(part);
}

void store_some(vec value, global ACT *to, global const ACT *added, int width, int adds) {
    if (width >= TN) {
        if (adds) value += LOAD_ACT(added);
        STORE_ACT(ACTIVATE(value), to);
        return;
    }
    float part[TN], more[TN];
    for (int l = 0; l < TN; l++) more[l] = adds && l < width ? LOAD_ACT1(added + l) : 0.0f;
    if (adds) value += LOAD(more);
    STORE(ACTIVATE(value), part);
    EACH_OF(l, TN, width) STORE_ACT1(part[l], to + l);
}
