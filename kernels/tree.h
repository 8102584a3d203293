/* Sums over a work-group of TREE items in dimension 0, in the same order at every call: all items of the group come
 * here, each with its own value, and each has the sum. TREE_SUM(name, type) defines a function of that name.
 *
 *  TREE  items of a group, a power of two; 0: an item sums alone, as on CPUs
 */
#ifndef TREE
#error "TREE is missing"
#endif
#define TREE_SUM(name, type)                                                                                           \
    type name(type value, local type *room) {                                                                          \
        const int lane = get_local_id(0);                                                                              \
        barrier(CLK_LOCAL_MEM_FENCE); /* what room held before was read */                                             \
        room[lane] = value;                                                                                            \
        for (int half_way = TREE / 2; half_way > 0; half_way /= 2) {                                                   \
            barrier(CLK_LOCAL_MEM_FENCE);                                                                              \
            if (lane < half_way) room[lane] += room[lane + half_way];                                                  \
        }                                                                                                              \
        barrier(CLK_LOCAL_MEM_FENCE);                                                                                  \
        return room[0];                                                                                                \
    }
