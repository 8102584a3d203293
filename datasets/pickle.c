/* The one layout of a pickle that is read: CIFAR's batches as their authors saved them for Python, which torchvision
 * downloads. The file is walked token by token; nothing that it says is done. It has to be a dict whose "data" is a
 * NumPy array of bytes, and whose labels are a list of small numbers. */
#include "pickle.h"

#include <string.h>

struct reader {
    const char *path;
    const uint8_t *bytes;
    size_t size, at;
};

enum kind { END, TEXT, NUMBER, LIST, MARK, APPENDS, CALL, OTHER, WRONG };

struct token {
    enum kind kind;
    const uint8_t *text; // of a TEXT; of a CALL the names, to the second line's end
    size_t length;
    int64_t number;
};

/* Globals that NumPy's arrays of bytes name: nothing else may be. */
static bool is_harmless(const struct token *call) {
    static const char *const known[] = {"numpy.core.multiarray\n_reconstruct", "numpy._core.multiarray\n_reconstruct",
                                        "numpy\nndarray", "numpy\ndtype", "_codecs\nencode"};
    for (int i = 0; i < BL_COUNT(known); i++)
        if (strlen(known[i]) == call->length && !memcmp(known[i], call->text, call->length)) return true;
    return false;
}

/* A number of so many bytes, little-endian, and past it. */
static bool take(struct reader *r, int bytes, uint64_t *number) {
    if (r->size - r->at < (size_t)bytes) return false;
    *number = 0;
    for (int i = bytes; i--;) *number = *number << 8 | r->bytes[r->at + (size_t)i];
    r->at += (size_t)bytes;
    return true;
}

static struct token text_of(struct reader *r, int length_bytes) {
    uint64_t length;
    struct token token = {.kind = WRONG};
    if (!take(r, length_bytes, &length) || length > r->size - r->at) return token;
    token = (struct token){.kind = TEXT, .text = r->bytes + r->at, .length = (size_t)length};
    r->at += (size_t)length;
    return token;
}

static struct token number_of(struct reader *r, int bytes) {
    uint64_t number = 0;
    const bool good = take(r, bytes, &number);
    return (struct token){.kind = good ? NUMBER : WRONG, .number = bytes == 4 ? (int32_t)number : (int64_t)number};
}

/* Two lines, module and name. */
static struct token call_of(struct reader *r) {
    struct token token = {.kind = CALL, .text = r->bytes + r->at};
    const uint8_t *end = memchr(token.text, '\n', r->size - r->at);
    if (end) end = memchr(end + 1, '\n', (size_t)(r->bytes + r->size - end - 1));
    if (!end) return (struct token){.kind = WRONG};
    token.length = (size_t)(end - token.text);
    r->at = (size_t)(end + 1 - r->bytes);
    return token;
}

static struct token skip(struct reader *r, size_t bytes) {
    const bool good = bytes <= r->size - r->at;
    if (good) r->at += bytes;
    return (struct token){.kind = good ? OTHER : WRONG};
}

static struct token next_raw(struct reader *r) {
    if (r->at == r->size) return (struct token){.kind = WRONG};
    const uint8_t code = r->bytes[r->at++];
    switch (code) {
    case '.':
        return (struct token){.kind = END};
    case 'U': // short strings of Python 2, of bytes, of Unicode
    case 'C':
    case 0x8c:
        return text_of(r, 1);
    case 'T': // long ones
    case 'B':
    case 'X':
        return text_of(r, 4);
    case 'K':
        return number_of(r, 1);
    case 'M':
        return number_of(r, 2);
    case 'J':
        return number_of(r, 4);
    case ']':
        return (struct token){.kind = LIST};
    case '(':
        return (struct token){.kind = MARK};
    case 'e':
        return (struct token){.kind = APPENDS};
    case 'c':
        return call_of(r);
    case 0x80: // the protocol; memos
    case 'q':
    case 'h':
        return skip(r, 1);
    case 'r':
    case 'j':
        return skip(r, 4);
    default: // dict, its items, tuples, None, False, what rebuilds an array
        return (struct token){.kind = strchr("}us\x85\x86\x87t)N\x88\x89Rb", code) && code ? OTHER : WRONG};
    }
}

/* The next that is no memo's number and changes nothing. */
static struct token next(struct reader *r) {
    for (;;) {
        const uint8_t code = r->at < r->size ? r->bytes[r->at] : 0;
        struct token token = next_raw(r);
        const bool memo = token.kind == OTHER && (code == 'q' || code == 'r' || code == 0x80);
        if (token.kind == CALL && !is_harmless(&token)) token.kind = WRONG;
        if (!memo) return token;
    }
}

static bool is_text(const struct token *token, const char *text) {
    return token->kind == TEXT && token->length == strlen(text) && !memcmp(token->text, text, token->length);
}

/* A list, filled in parts. */
static bool read_labels(struct reader *r, struct bl_cifar_batch *batch) {
    if (next(r).kind != LIST) return false;
    for (size_t before = r->at;; before = r->at) {
        if (next(r).kind != MARK) return r->at = before, batch->count > 0;
        struct token token;
        while ((token = next(r)).kind == NUMBER) {
            if (token.number < 0 || token.number > 255 || batch->count == BL_CIFAR_MOST) return false;
            batch->labels[batch->count++] = (uint8_t)token.number;
        }
        if (token.kind != APPENDS) return false;
    }
}

/* The array's values are the text that is as long as its shape says: rows of `row` bytes. */
static bool read_data(struct reader *r, size_t row, struct bl_cifar_batch *batch) {
    for (int tokens = 0; tokens < 64; tokens++) {
        const struct token token = next(r);
        if (token.kind == WRONG || token.kind == END) return false;
        if (token.kind != TEXT || token.length < row) continue;
        batch->data = token.text;
        batch->rows = token.length / row;
        return token.length % row == 0;
    }
    return false;
}

int bl_cifar_batch_read(struct bl_cifar_batch *batch, const char *path, const uint8_t *bytes, size_t size,
                        const char *labels, size_t row) {
    struct reader r = {path, bytes, size, 0};
    bool good = size > 2 && bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 3;
    batch->count = 0;
    batch->data = NULL;
    for (struct token token = {.kind = OTHER}; good && token.kind != END;) {
        token = next(&r);
        good = token.kind != WRONG;
        if (is_text(&token, labels)) good = !batch->count && read_labels(&r, batch);
        if (good && is_text(&token, "data")) good = !batch->data && read_data(&r, row, batch);
    }
    if (good && batch->data && batch->rows == batch->count) return 0;
    return bl_fail(BLANCH_EINPUT,
                   "%s: not one of CIFAR's batches for Python, or damaged; nothing else of pickle is read", path);
}
