/* What kernels share that do many jobs at once (host/ops/ahead.h): a job makes blocks of 1024 values, of which each of
 * 64 items does 16. The table's entries are structs that begin with `long block, from, to`. A job's last block may have
 * fewer values.
 *
 *  TABLED  the struct's name; required
 */

/* The entry among `count` from `first` on that has the block. */
int find_entry(global const struct TABLED *table, int first, int count, long block) {
    int low = first, high = first + count - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (table[middle].block <= block)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* The block of this item, and the values of it that the item does: i = BEGIN(entry), and each 64th up to END(entry). */
#define THIS_BLOCK ((long)(get_global_id(0) / 64))
#define AHEAD_BEGIN(entry) ((THIS_BLOCK - (entry).block) * 1024 + (long)(get_global_id(0) % 64))
#define AHEAD_END(entry) ((THIS_BLOCK - (entry).block + 1) * 1024)
