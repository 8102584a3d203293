/* The collectives over MPI. Every call is begun and then looked at until it is done, with rests in between: the cores
 * belong to the devices, and a rank that fails, is gone or hangs is noticed. */
#include "dist/mpi.h"
#include <errno.h>
#include <limits.h>
#include <mpi.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TAG_FAILED = 1, TAG_HERE, TAG_DONE, TAG_LAST, TAG_VERDICT };
enum { LOOKS = 200 }; // before the first rest
static const double shortest_rest = 20e-6, longest_rest = 500e-6, look_around = 0.02, patience = 600;
static const double farewell = 60, last_words = 10, answers = 5; // seconds, at the end, when something has failed

struct lane { // calls of two of them may be under way together, from two threads
    struct mpi *mpi;
    MPI_Comm comm;
};
struct mpi {
    struct lane now, meanwhile; // of the collectives
    struct blanch_collectives background;
    pthread_mutex_t lock;                      // MPI is called by one thread at a time
    MPI_Comm apart;                            // of failures
    int lowest;                                // rank that has told of a failure
    int rank, ranks, failed_rank, failed_code; // the first failure that was told of; 0: none
    double timeout;
    bool given_up, told; // here; the others of it
    bool abandoned, timed_out;
    bool said_here, *hangs; // this rank has answered; (ranks) those that have not: NULL
    struct bl_rank *table;  // (ranks)
    int *member;            // (members) ranks that take part; NULL: all
    int members, member_rank;
    bool watches, left; // processes of this host, by their number; this rank takes no part
    bool clean;         // all have said their last words, and may finalize
};

static int mpi_fail(int error, const char *what) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    if (MPI_Error_string(error, text, &length)) snprintf(text, sizeof text, "error %d", error);
    return bl_fail(BLANCH_EDEVICE, "MPI: %s: %s", what, text);
}

static const char *name_of(const struct mpi *m, int rank, char name[300]) {
    const struct bl_rank *r = &m->table[rank];
    snprintf(name, 300, "rank %d (%s%s%s)", rank, r->host, *r->device ? ", " : "", r->device);
    return name;
}

/* --- telling ------------------------------------------------------------------------------------ */

/* Messages of a number are small enough to leave at once. */
static void tell_rank(struct mpi *m, int rank, int tag, int value) {
    MPI_Request request;
    int done = 0;
    if (MPI_Isend(&value, 1, MPI_INT, rank, tag, m->apart, &request)) return;
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (!done) MPI_Request_free(&request);
}

static void tell(struct mpi *m, int tag, int value) {
    m->told |= tag == TAG_FAILED;
    for (int k = 0; k < m->ranks; k++)
        if (k != m->rank) tell_rank(m, k, tag, value);
}

/* That this rank lives, as soon as it knows of a failure: writing a checkpoint takes its time. */
static void say_here(struct mpi *m) {
    if (!m->said_here) tell(m, TAG_HERE, 0);
    m->said_here = true;
}

/* --- waiting ------------------------------------------------------------------------------------ */

static void rest(double seconds) {
    nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * seconds)}, NULL);
}

/* A message that has come, from *source. */
static bool take_number(struct mpi *m, int *source, int tag, int *value) {
    MPI_Status status;
    int there = 0;
    if (MPI_Iprobe(*source, tag, m->apart, &there, &status) || !there) return false;
    *source = status.MPI_SOURCE;
    return !MPI_Recv(value, 1, MPI_INT, *source, tag, m->apart, MPI_STATUS_IGNORE);
}

/* A rank has told of its failure. */
static int hear(struct mpi *m) {
    char name[300];
    int there = 0, code;
    MPI_Status status;
    int error = MPI_Iprobe(MPI_ANY_SOURCE, TAG_FAILED, m->apart, &there, &status);
    if (error) return mpi_fail(error, "looking for messages");
    if (!there) return 0;
    error = MPI_Recv(&code, 1, MPI_INT, status.MPI_SOURCE, TAG_FAILED, m->apart, MPI_STATUS_IGNORE);
    if (error) return mpi_fail(error, "receiving a message");
    if (!m->failed_code) m->failed_code = code, m->failed_rank = m->lowest = status.MPI_SOURCE;
    if (status.MPI_SOURCE < m->lowest) m->lowest = status.MPI_SOURCE;
    return bl_fail(code, "%s failed", name_of(m, status.MPI_SOURCE, name));
}

/* A process that has ended is still there until its parent has looked at it, which MPICH's proxy does at the end. */
static bool has_ended(int pid) {
    char path[40], state = 0;
    if (kill(pid, 0)) return errno == ESRCH;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r"); // elsewhere than on Linux there is none
    if (!file) return false;
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1) state = 0;
    fclose(file);
    return state == 'Z' || state == 'X';
}

static bool is_gone(const struct mpi *m, int rank) {
    const struct bl_rank *r = &m->table[rank];
    return rank != m->rank && !strcmp(r->host, m->table[m->rank].host) && has_ended(r->pid);
}

static int first_gone(const struct mpi *m) {
    for (int k = 0; k < m->ranks && m->watches; k++)
        if (is_gone(m, k)) return k;
    return -1;
}

/* Of a wait that has taken so many seconds. */
static int check(struct mpi *m, double waited) {
    char name[300];
    int code = hear(m);
    if (code) return code;
    if (m->failed_code)
        return bl_fail(m->failed_code, "%s failed", name_of(m, m->failed_rank, name)); // another lane heard
    const int gone = first_gone(m);
    if (gone >= 0) {
        rest(look_around); // it may have told why
        if ((code = hear(m))) return code;
        return bl_fail(BLANCH_EDEVICE, "%s is gone: killed, or out of memory", name_of(m, gone, name));
    }
    if (waited < m->timeout) return 0;
    m->timed_out = true;
    tell(m, TAG_FAILED, BLANCH_EDEVICE);
    return bl_fail(BLANCH_EDEVICE, "the other ranks were waited for %.0f s: one of them hangs", m->timeout);
}

/* error: of what has begun the request, by a thread that has the lock, and has it no longer. */
static int wait_for(struct lane *lane, int error, MPI_Request *request, const char *what) {
    struct mpi *m = lane->mpi;
    const double start = bl_now();
    double looked = start, now, pause = shortest_rest;
    int code = error ? mpi_fail(error, what) : 0, done = 0;
    for (int looks = 0; !code; looks++) {
        error = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        if (error) code = mpi_fail(error, what);
        if (error || done) break;
        if (m->given_up) code = bl_fail(BLANCH_EDEVICE, "this rank has given up");
        pthread_mutex_unlock(&m->lock);
        if (looks >= LOOKS) rest(pause);
        pthread_mutex_lock(&m->lock);
        now = bl_now();
        if (now - start > 0.05 && pause < longest_rest) pause *= 2;
        if (looks < LOOKS || now - looked < look_around) continue;
        looked = now;
        if (!code) code = check(m, now - start);
    }
    m->abandoned |= !done;
    if (code) say_here(m);
    pthread_mutex_unlock(&m->lock);
    return code;
}

/* --- the collectives ---------------------------------------------------------------------------- */

/* Takes the lock, but where it fails. */
static int begin(struct lane *lane, size_t bytes) {
    struct mpi *m = lane->mpi;
    int code = 0;
    if (bytes > INT_MAX)
        return bl_fail(BLANCH_ELIMIT, "%zu bytes between two ranks are more than MPI takes at once", bytes);
    pthread_mutex_lock(&m->lock);
    if (m->given_up || m->failed_code) {
        say_here(m);
        pthread_mutex_unlock(&m->lock);
        code = bl_fail(BLANCH_EDEVICE, "a rank has failed");
    }
    return code;
}

static int gather(void *context, const void *own, size_t bytes, void *all) {
    struct lane *lane = context;
    MPI_Request request;
    int code = begin(lane, bytes);
    if (code) return code;
    const int error = MPI_Iallgather(own, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, lane->comm, &request);
    return wait_for(lane, error, &request, "gathering");
}

static int exchange(void *context, const void *from, size_t bytes, void *to) {
    struct lane *lane = context;
    MPI_Request request;
    int code = begin(lane, bytes);
    if (code) return code;
    const int error = MPI_Ialltoall(from, (int)bytes, MPI_BYTE, to, (int)bytes, MPI_BYTE, lane->comm, &request);
    return wait_for(lane, error, &request, "exchanging");
}

static int spread(void *context, void *values, size_t bytes, int root) {
    struct lane *lane = context;
    MPI_Request request;
    int code = 0;
    for (size_t at = 0; at < bytes && !code; at += INT_MAX / 2) {
        const size_t here = bytes - at < INT_MAX / 2 ? bytes - at : INT_MAX / 2;
        if ((code = begin(lane, here))) break;
        const int error = MPI_Ibcast((char *)values + at, (int)here, MPI_BYTE, root, lane->comm, &request);
        code = wait_for(lane, error, &request, "spreading");
    }
    return code;
}

static void give_up(void *context, int code) {
    struct mpi *m = ((struct lane *)context)->mpi;
    pthread_mutex_lock(&m->lock);
    if (!m->told && !m->failed_code) tell(m, TAG_FAILED, code);
    m->given_up = true;
    say_here(m);
    pthread_mutex_unlock(&m->lock);
}

static int check_threads(void) {
    int begun = 0, level = MPI_THREAD_SINGLE, ended = 0;
    if (MPI_Initialized(&begun) || !begun || MPI_Finalized(&ended) || ended || MPI_Query_thread(&level))
        return bl_fail(BLANCH_EUSAGE, "MPI is not under way: call MPI_Init_thread before");
    if (level >= MPI_THREAD_SERIALIZED) return 0;
    return bl_fail(BLANCH_EUSAGE, "MPI was begun for one thread alone: give MPI_Init_thread MPI_THREAD_SERIALIZED, or "
                                  "take an MPI library that has it");
}

static int duplicate(MPI_Comm from, MPI_Comm *to) {
    int error = MPI_Comm_dup(from, to);
    if (!error) error = MPI_Comm_set_errhandler(*to, MPI_ERRORS_RETURN);
    return error ? mpi_fail(error, "duplicating a communicator") : 0;
}

/* Everybody learns where the others are. */
static int meet(struct mpi *m) {
    struct bl_rank own = {.pid = (int)getpid()};
    if (gethostname(own.host, sizeof own.host - 1)) snprintf(own.host, sizeof own.host, "rank%d", m->rank);
    m->table = bl_calloc((size_t)m->ranks, sizeof *m->table);
    int code = m->table ? gather(&m->now, &own, sizeof own, m->table) : BLANCH_ENOMEM;
    for (int k = 0; k < m->ranks && !code; k++)
        for (int j = 0; j < k; j++) m->table[k].local += !strcmp(m->table[j].host, m->table[k].host);
    if (code) return code;
    m->watches = true;
    m->watches = first_gone(m) < 0; // processes of other containers cannot be seen
    return 0;
}

static void library_name(char to[96]) {
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length;
    if (MPI_Get_library_version(text, &length)) *text = 0;
    snprintf(to, 96, "%.*s", (int)strcspn(text, ",\n"), text);
    for (char *c = to; *c; c++)
        if (*c == '\t') *c = ' ';
}

/* A program that another MPI's mpirun has started is alone, as often as there are ranks. */
static int check_started(const struct mpi *m) {
    char library[96];
    int rank, started;
    bl_ranks_look(&rank, &started);
    if (m->ranks >= started) return 0;
    library_name(library);
    return bl_fail(BLANCH_EUSAGE,
                   "%d ranks were started, and MPI (%s) knows of %d: it is not the MPI of who started "
                   "them; take its own mpirun, or `srun --mpi=` with one of `srun --mpi=list`",
                   started, library, m->ranks);
}

static int open_on(struct mpi **made, MPI_Comm comm, double timeout) {
    int code = check_threads();
    struct mpi *m = *made = code ? NULL : bl_calloc(1, sizeof *m);
    if (!m) return code ? code : BLANCH_ENOMEM;
    m->now = m->meanwhile = (struct lane){m, MPI_COMM_NULL};
    m->apart = MPI_COMM_NULL;
    m->timeout = timeout > 0 ? timeout : patience;
    pthread_mutex_init(&m->lock, NULL);
    code = duplicate(comm, &m->now.comm);
    if (!code) code = duplicate(comm, &m->meanwhile.comm);
    if (!code) code = duplicate(comm, &m->apart);
    int error = code ? 0 : MPI_Comm_rank(m->now.comm, &m->rank);
    if (!code && !error) error = MPI_Comm_size(m->now.comm, &m->ranks);
    if (error) return mpi_fail(error, "counting the ranks");
    return code ? code : meet(m);
}

static void close_on(struct mpi *m) {
    int ended = 0;
    if (!m) return;
    MPI_Comm *const all[] = {&m->apart, &m->meanwhile.comm, &m->now.comm};
    MPI_Finalized(&ended);
    for (int i = 0; i < (int)BL_COUNT(all) && !ended && !m->abandoned; i++)
        if (*all[i] != MPI_COMM_NULL) MPI_Comm_free(all[i]);
    pthread_mutex_destroy(&m->lock);
    free(m->table), free(m->member), free(m->hangs);
    free(m);
}

static struct blanch_collectives lane_of(struct lane *lane, const struct blanch_collectives *meanwhile) {
    const struct mpi *m = lane->mpi;
    const int rank = m->member ? m->member_rank : m->rank, ranks = m->member ? m->members : m->ranks;
    return (struct blanch_collectives){
        sizeof(struct blanch_collectives), rank, ranks, lane, gather, exchange, spread, meanwhile, give_up};
}

static struct blanch_collectives table_of(struct mpi *m) {
    m->background = lane_of(&m->meanwhile, NULL);
    return lane_of(&m->now, &m->background);
}

/* --- for programs that have MPI ----------------------------------------------------------------- */

int blanch_collectives_mpi(struct blanch_collectives *all, const void *communicator, double timeout) {
    struct mpi *m = NULL;
    if (!all || !communicator) return bl_fail(BLANCH_EUSAGE, "blanch_collectives_mpi: NULL is given");
    const size_t size = all->size, known = size < sizeof *all ? size : sizeof *all;
    if (size < offsetof(struct blanch_collectives, meanwhile))
        return bl_fail(BLANCH_EUSAGE, "struct blanch_collectives has size %zu", size);
    int code = open_on(&m, *(const MPI_Comm *)communicator, timeout);
    if (code) return close_on(m), code;
    const struct blanch_collectives table = table_of(m);
    memcpy(all, &table, known);
    all->size = size;
    return 0;
}

void blanch_collectives_mpi_free(struct blanch_collectives *all) {
    if (!all || !all->context) return;
    close_on(((struct lane *)all->context)->mpi);
    all->context = NULL;
}

/* --- for the command line ----------------------------------------------------------------------- */

static struct mpi *of(const struct bl_ranks *ranks) {
    return ((struct lane *)ranks->all.context)->mpi;
}

/* MPICH's mpiexec tells the others of a rank that is gone by SIGUSR1, which ends a process that takes no note. They see
 * it for themselves, and have something to write and to say. */
static int begin_mpi(void) {
    int level, begun = 0;
    signal(SIGUSR1, SIG_IGN);
    int error = MPI_Initialized(&begun);
    if (!error && !begun) error = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level);
    return error ? bl_fail(BLANCH_EDEVICE, "MPI does not begin: error %d", error) : 0;
}

int bl_ranks_open(struct bl_ranks **ranks, double timeout) {
    struct bl_ranks *r = *ranks = bl_calloc(1, sizeof *r);
    struct mpi *m = NULL;
    int code = r ? begin_mpi() : BLANCH_ENOMEM;
    if (!code) code = open_on(&m, MPI_COMM_WORLD, timeout);
    if (!code) code = check_started(m);
    if (!code) {
        r->all = table_of(m);
        r->rank = m->rank, r->ranks = m->ranks;
        r->own = &m->table[m->rank];
        for (int k = 0; k < r->ranks; k++) r->locals += !strcmp(m->table[k].host, r->own->host);
        library_name(r->library);
    }
    if (code && r) close_on(m), free(r), *ranks = NULL;
    return code;
}

int bl_ranks_describe(struct bl_ranks *r, const char *device) {
    struct bl_rank own = *r->own;
    snprintf(own.device, sizeof own.device, "%s", device);
    return gather(&of(r)->now, &own, sizeof own, of(r)->table);
}

const struct bl_rank *bl_ranks_at(const struct bl_ranks *ranks, int rank) {
    const struct mpi *m = of(ranks);
    return &m->table[m->member ? m->member[rank] : rank];
}

static int keep_on(struct lane *lane, bool left) {
    MPI_Comm kept = MPI_COMM_NULL;
    int error = MPI_Comm_split(lane->comm, left ? MPI_UNDEFINED : 0, lane->mpi->rank, &kept);
    if (!error) error = MPI_Comm_free(&lane->comm);
    if (!error && !left) error = MPI_Comm_set_errhandler(kept, MPI_ERRORS_RETURN);
    lane->comm = kept;
    return error ? mpi_fail(error, "leaving ranks out") : 0;
}

int bl_ranks_keep(struct bl_ranks *ranks, const bool *keep, bool *left) {
    struct mpi *m = of(ranks);
    *left = !keep[m->rank];
    if (!(m->member = bl_calloc((size_t)m->ranks, sizeof *m->member))) return BLANCH_ENOMEM;
    int code = keep_on(&m->now, *left);
    if (!code) code = keep_on(&m->meanwhile, *left);
    if (code) return code;
    m->left = *left;
    for (int k = 0; k < m->ranks; k++) {
        if (k == m->rank && keep[k]) m->member_rank = m->members;
        if (keep[k]) m->member[m->members++] = k;
    }
    ranks->rank = m->member_rank, ranks->ranks = m->members;
    ranks->all = table_of(m);
    return 0;
}

/* --- the end ------------------------------------------------------------------------------------ */

static bool has_failed(const struct mpi *m) {
    return m->failed_code || m->told || m->abandoned || m->timed_out;
}

/* From rank 0, when it has written what it had to: who tells the message. False: it did not come. Where nothing has
 * failed a rank may be slow here as anywhere. */
static bool hear_done(struct mpi *m, int *teller) {
    double start = bl_now();
    while (m->left || (bl_now() - start < (has_failed(m) ? farewell : m->timeout) && !(m->hangs && m->hangs[0]))) {
        if (take_number(m, &(int){0}, TAG_DONE, teller)) return true;
        if (hear(m)) say_here(m), start = bl_now();
        if (m->watches && is_gone(m, 0)) return false;
        rest(longest_rest);
    }
    rest(look_around); // this rank may have been stopped
    return take_number(m, &(int){0}, TAG_DONE, teller);
}

static int name_silent(const struct mpi *m) {
    char names[900] = "", name[300];
    for (int k = 0; k < m->ranks; k++) {
        const size_t used = strlen(names);
        if (!m->hangs[k] || used > sizeof names - 300) continue;
        snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", name_of(m, k, name));
    }
    return *names ? bl_fail(BLANCH_EDEVICE, "%s: no answer for %.0f s: it hangs", names, m->timeout) : 0;
}

/* Of a rank that waited in vain: who lives has answered; the others hang, and are named. */
static bool name_hanging(struct mpi *m) {
    const double start = bl_now();
    int unused, left = m->ranks - 1;
    if (!(m->hangs = bl_calloc((size_t)m->ranks, sizeof *m->hangs))) return false;
    for (int k = 0; k < m->ranks; k++) m->hangs[k] = k != m->rank;
    while (left && bl_now() - start < answers) {
        hear(m);
        for (int k = MPI_ANY_SOURCE; take_number(m, &k, TAG_HERE, &unused); k = MPI_ANY_SOURCE)
            left -= m->hangs[k], m->hangs[k] = false;
        rest(longest_rest);
    }
    return name_silent(m) != 0;
}

/* MPICH's mpiexec would wait for them for ever: those of this host are killed, when everything is told. */
static void kill_hanging(struct mpi *m) {
    for (int k = 0; m->hangs && m->watches && k < m->ranks; k++)
        if (m->hangs[k] && !strcmp(m->table[k].host, m->table[m->rank].host))
            m->hangs[k] = false, kill(m->table[k].pid, SIGKILL);
}

/* Without rank 0 the lowest of those that have something to tell does. */
static bool is_told(struct mpi *m) {
    const double start = bl_now();
    while (bl_now() - start < 0.3) {
        hear(m);
        rest(longest_rest);
    }
    return m->failed_code && m->lowest < m->rank;
}

/* By a rank that has done its part. Whether it is the one to tell that rank 0 does not answer. */
static bool lose_first(struct mpi *m, int *code) {
    char name[300];
    const bool gone = m->watches && is_gone(m, 0);
    tell(m, TAG_FAILED, BLANCH_EDEVICE);
    const bool tells = !is_told(m);
    if (!m->hangs) m->hangs = bl_calloc((size_t)m->ranks, sizeof *m->hangs);
    if (m->hangs) m->hangs[0] = !gone;
    *code = gone || !m->hangs ? bl_fail(BLANCH_EDEVICE, "%s is gone: killed, or out of memory", name_of(m, 0, name))
                              : name_silent(m);
    return tells;
}

/* mpirun sends the others SIGTERM where one is killed, which is no interruption. A layer that waited for a rank has
 * nothing to do with its end. */
static int name_gone(struct mpi *m, int code) {
    char name[300], *message = bl_strdup(blanch_error_message());
    const int gone = message ? first_gone(m) : -1;
    const char *named = gone < 0 ? NULL : strstr(message, name_of(m, gone, name));
    if (named) bl_fail(code, "%s", named);
    if (gone >= 0 && code == BLANCH_EINTERRUPTED)
        code = bl_fail(BLANCH_EDEVICE, "%s is gone: killed, or out of memory", name);
    free(message);
    return code;
}

bool bl_ranks_agree(struct bl_ranks *ranks, int *code) {
    struct mpi *m = of(ranks);
    if (*code) *code = name_gone(m, *code);
    if (m->left && !*code) hear_done(m, &(int){0});
    if (m->left && !*code) return *code = m->failed_code, false;
    const bool own = *code && !m->failed_code; // not by what another rank has told
    char name[300], *message = own ? bl_strdup(blanch_error_message()) : NULL;
    int teller = m->rank;
    hear(m);
    if (own && !m->told) tell(m, TAG_FAILED, *code);
    if (*code || m->failed_code) say_here(m);
    if (own && m->timed_out && name_hanging(m)) free(message), message = bl_strdup(blanch_error_message());
    if (m->rank) {
        const bool heard = hear_done(m, &teller);
        if (!heard && !*code && !m->failed_code) return lose_first(m, code);
        if (!heard) teller = own && !is_told(m) ? m->rank : -1;
    } else {
        teller = own || !m->failed_code ? 0 : m->failed_rank;
        tell(m, TAG_DONE, teller);
    }
    if (!*code && m->failed_code) *code = m->failed_code;
    if (own) bl_fail(*code, "%s", message ? message : blanch_error_text(*code)); // others' came since
    free(message);
    if (teller == m->rank && own && strncmp(blanch_error_message(), "rank ", 5))
        bl_fail_in(*code, "%s", name_of(m, m->rank, name));
    return teller == m->rank && *code;
}

/* Of rank 0: whether everybody is there, and nobody has left a collective within it. */
static bool hear_last_words(struct mpi *m, int *code) {
    double start = bl_now();
    int waited = m->ranks - 1, left = 0;
    bool clean = !m->abandoned, ends = false, *silent = bl_calloc((size_t)m->ranks, sizeof *silent);
    for (int k = 1; k < m->ranks && silent; k++) silent[k] = true;
    while (waited && !ends && silent) {
        ends = first_gone(m) >= 0 || bl_now() - start >= (has_failed(m) ? last_words : m->timeout);
        rest(ends ? look_around : longest_rest); // and looks once more
        if (hear(m)) start = bl_now();
        for (int k = MPI_ANY_SOURCE; take_number(m, &k, TAG_LAST, &left); k = MPI_ANY_SOURCE)
            waited -= silent[k], silent[k] = false, clean &= !left;
    }
    clean &= silent && !waited && first_gone(m) < 0;
    if (waited && silent && first_gone(m) < 0 && !has_failed(m) && !m->hangs) {
        m->hangs = silent, silent = NULL;
        *code = name_silent(m);
    }
    free(silent);
    return clean;
}

/* Rank 0 alone decides: of ranks that each went by their own clock one may finalize, which waits for all. Who waits no
 * longer says so. */
static bool hear_verdict(struct mpi *m, int *code, bool *tells) {
    const double start = bl_now(), longest = (has_failed(m) ? last_words : m->timeout) + answers;
    int verdict = 0;
    if (m->hangs && m->hangs[0]) return false;
    tell_rank(m, 0, TAG_LAST, m->abandoned);
    for (;;) {
        const bool gone = first_gone(m) >= 0, late = bl_now() - start >= longest;
        rest(gone ? look_around : longest_rest);
        if (take_number(m, &(int){0}, TAG_VERDICT, &verdict)) return verdict;
        if (!gone && !late) continue;
        tell_rank(m, 0, TAG_LAST, true);
        if (late && !has_failed(m)) *tells = lose_first(m, code);
        return false;
    }
}

bool bl_ranks_part(struct bl_ranks *ranks, int *code) {
    struct mpi *m = of(ranks);
    bool tells = m->rank == 0;
    int late = 0;
    kill_hanging(m);
    m->clean = m->rank ? hear_verdict(m, &late, &tells) : hear_last_words(m, &late);
    if (!*code) *code = late;
    return late && tells;
}

void bl_ranks_close(struct bl_ranks *ranks) {
    if (!ranks) return;
    struct mpi *m = of(ranks);
    const bool clean = m->clean;
    if (!m->rank) tell(m, TAG_VERDICT, clean);
    kill_hanging(m);
    for (int k = 0; k < m->ranks && hear(m); k++) continue; // messages that nobody needed
    m->abandoned |= !clean;
    close_on(m);
    if (clean) MPI_Finalize();
    free(ranks);
}
