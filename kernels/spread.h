/* Elements of an array shared among items: where step is 1 an item has `chunk` of them that follow each other, as suits
 * a CPU, else every step-th from its own number on, as suits a GPU. for (size_t i = SPREAD_BEGIN; i < SPREAD_END; i +=
 * step), with the kernel's arguments long count, long chunk, long step. */
#define SPREAD_BEGIN (get_global_id(0) * (size_t)(step == 1 ? chunk : 1))
#define SPREAD_END (step == 1 ? min(SPREAD_BEGIN + (size_t)chunk, (size_t)count) : (size_t)count)
