/* Text from outside, made harmless for each medium: every byte, every pair of bytes, random strings of the characters
 * that mean something. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/base.h"
#include "base/text.h"
#include "io/json.h"
#include "report/html.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANDOM = 40000, LONGEST = 12 };

/* Calls `look` with every byte, every pair, and strings of what escapes, quotes and UTF-8 are made of. */
static void each_text(void (*look)(const char *text)) {
    static const char pieces[][5] = {"\\",
                                     "x",
                                     "u",
                                     "E",
                                     "9",
                                     "5C",
                                     "0",
                                     "\"",
                                     "'",
                                     "<",
                                     "&",
                                     "\xe9",
                                     "\xc3\xa9",
                                     "\x1b",
                                     "\n",
                                     "\xe2\x80\xae",
                                     "\xf3\xa0\x80\x81",
                                     "\xc2",
                                     "=",
                                     ",",
                                     "\x7f",
                                     "\xf0\x9f"};
    char text[4 * LONGEST + 1];
    look("");
    for (int a = 1; a < 256; a++)
        for (int b = 0; b < 256; b++) {
            text[0] = (char)a, text[1] = (char)b, text[2] = 0;
            look(text);
        }
    for (int i = 0; i < RANDOM; i++) {
        text[0] = 0;
        for (int k = 0; k <= i % LONGEST; k++) {
            uint32_t word[4];
            bl_philox(1, BL_RANDOM_DATA, (uint64_t)i, (uint64_t)k, word);
            strcat(text, pieces[bl_below(word[0], BL_COUNT(pieces))]);
        }
        look(text);
    }
}

static void assert_visible(const char *text) {
    for (uint32_t code; *text;) {
        int bytes = bl_utf8(text, &code);
        if (!bytes || bl_text_hidden(code)) fail_msg("byte %02x is hidden or no UTF-8", (unsigned char)*text);
        text += bytes;
    }
}

/* --- UTF-8 -------------------------------------------------------------------------------------- */

/* Every code point, written by its definition, and what is none. */
static void test_utf8(void **state) {
    static const char *const wrong[] = {
        "\xc0\x80",         "\xc1\xbf",         "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf8\x88\x80\x80", "\xff",         "\x80",         "\xc3",         "\xe2\x82",
        "\xe2\x82q",        "\xf0\x9f\x98"};
    uint32_t code;
    for (uint32_t want = 1; want <= 0x10ffff; want++) {
        unsigned char t[5] = {0};
        if (want >= 0xd800 && want <= 0xdfff) continue;
        int length = want < 0x80 ? 1 : want < 0x800 ? 2 : want < 0x10000 ? 3 : 4;
        for (int i = length - 1; i > 0; i--) t[i] = 0x80 | (want >> 6 * (length - 1 - i) & 0x3f);
        t[0] = (unsigned char)(length == 1 ? want : (0xf00u >> length & 0xff) | want >> 6 * (length - 1));
        if (bl_utf8((const char *)t, &code) != length || code != want) fail_msg("U+%04X", want);
    }
    for (int i = 0; i < BL_COUNT(wrong); i++) assert_int_equal(bl_utf8(wrong[i], &code), 0);
}

/* --- terminals ---------------------------------------------------------------------------------- */

/* Shown once more it stays; in too little room it is a part of itself that ends with a whole character. */
static void look_shown(const char *text) {
    char whole[256], again[256], part[256];
    size_t length = bl_text_show(whole, sizeof whole, text);
    assert_int_equal(length, strlen(whole));
    assert_visible(whole);
    bl_text_show(again, sizeof again, whole);
    assert_string_equal(whole, again);
    for (size_t size = 1; size <= length; size++) {
        assert_int_equal(bl_text_show(part, size, text), length);
        assert_true(strlen(part) < size && !strncmp(part, whole, strlen(part)));
        assert_visible(part);
    }
}

static void test_shown(void **state) {
    each_text(look_shown);
    char shown[64];
    bl_text_show(shown, sizeof shown, "a\nb\x1b[2J\x9b\xc2\x9b\xe2\x80\xae\xc3\xa9\xf3\xa0\x80\x81");
    assert_string_equal(shown, "a\\x0Ab\\x1B[2J\\x9B\\u009B\\u202E\xc3\xa9\\U000E0001");
    assert_int_equal(bl_text_fit("a\xc3\xa9z", 2), 1);
    assert_int_equal(bl_text_fit("a\xc3\xa9z", 3), 1);
    assert_int_equal(bl_text_fit("a\xc3\xa9z", 4), 3);
    assert_int_equal(bl_text_fit("a\xc3\xa9z", 5), 4);
}

/* A message is a line whatever its arguments hold; what is put behind it keeps its lines. */
static void test_messages(void **state) {
    bl_fail(BLANCH_EINPUT, "%s: no such file", "two\nlines\x1b[31m");
    assert_string_equal(blanch_error_message(), "two\\x0Alines\\x1B[31m: no such file");
    bl_fail_more(BLANCH_EINPUT, "log 1\nlog 2");
    bl_fail_in(BLANCH_EINPUT, "%s", "a\nb");
    assert_string_equal(blanch_error_message(), "a\\x0Ab: two\\x0Alines\\x1B[31m: no such file\nlog 1\nlog 2");
}

/* --- JSON --------------------------------------------------------------------------------------- */

/* As key and as value: the text is UTF-8 without hidden characters, and what is read of it is what was written. */
static void look_json(const char *text) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, text, text);
    for (int indented = 0; indented < 2; indented++) {
        char *written = bl_json_print(json, indented);
        assert_non_null(written);
        for (char *c = written; *c; c++)
            if (*c == '\n' || *c == '\t') *c = ' '; // between members
        assert_visible(written);
        cJSON *read = bl_json_parse(written, strlen(written), NULL);
        assert_non_null(read);
        assert_string_equal(read->child->string, text);
        assert_string_equal(read->child->valuestring, text);
        cJSON_Delete(read);
        free(written);
    }
    cJSON_Delete(json);
}

static void test_json(void **state) {
    static const struct {
        const char *text;
        bool good;
    } rows[] = {{"\"a\\u0000b\"", false},   {"\"a\\\\u0000b\"", true},
                {"{\"\\u0000\":1}", false}, {"[1] x", false},
                {"[1] \n\t ", true},        {"", false},
                {"\"\\\\\\u0000\"", false}, {"[1", false},
                {"\"\\udc80\"", false},     {"null", true}};
    each_text(look_json);
    for (int i = 0; i < BL_COUNT(rows); i++) {
        const char *end = NULL;
        cJSON *json = bl_json_parse(rows[i].text, strlen(rows[i].text), &end);
        if ((json != NULL) != rows[i].good) fail_msg("%s is %s", rows[i].text, json ? "taken" : "refused");
        assert_true(end >= rows[i].text && end <= rows[i].text + strlen(rows[i].text));
        cJSON_Delete(json);
    }
    assert_null(bl_json_parse("\"a\0b\"", 5, NULL)); // the same zero, as it is
    cJSON *json = cJSON_CreateString("caf\xe9 \\xE9 C:\\x \x7f");
    char *text = bl_json_print(json, false);
    assert_string_equal(text, "\"caf\\\\xE9 \\\\x5CxE9 C:\\\\x \\u007F\"");
    free(text);
    cJSON_Delete(json);
}

/* --- pages and tables --------------------------------------------------------------------------- */

/* What a browser makes of it: the five entities turned back. */
static void unescape(char *text) {
    static const char *const entities[][2] = {
        {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}, {"&amp;", "&"}};
    char *to = text;
    for (char *from = text; *from; to++) {
        int found = -1;
        for (int i = 0; i < BL_COUNT(entities); i++)
            if (!strncmp(from, entities[i][0], strlen(entities[i][0]))) found = i;
        assert_true(found >= 0 || *from != '&');
        *to = found >= 0 ? *entities[found][1] : *from;
        from += found >= 0 ? strlen(entities[found][0]) : 1;
    }
    *to = 0;
}

static void look_html(const char *text) {
    struct bl_html html = {0};
    char shown[256];
    bl_html(&html, "%s", "");
    bl_html_text(&html, text);
    assert_int_equal(html.error, 0);
    assert_null(strpbrk(html.data, "<>\"'"));
    assert_visible(html.data);
    bl_text_show(shown, sizeof shown, text);
    unescape(html.data);
    assert_string_equal(html.data, shown);
    free(html.data);
}

static void test_html(void **state) {
    each_text(look_html);
    char *longer = bl_calloc(1, 5001);
    memset(longer, '<', 5000);
    struct bl_html html = {0};
    bl_html_text(&html, longer);
    assert_int_equal(html.size, 4 * 5000);
    free(html.data);
    free(longer);
}

/* One field, whose value a reader of RFC 4180 gets back but for the apostrophe and bytes that are no UTF-8. */
static void look_csv(const char *text) {
    struct bl_html csv = {0};
    char value[256], *to = value;
    bl_html(&csv, "%s", "");
    bl_csv_text(&csv, text);
    bool quoted = *csv.data == '"';
    for (const char *c = csv.data + quoted; *c; c++) {
        if (quoted && *c == '"' && *++c != '"') {
            assert_int_equal(*c, 0);
            break;
        }
        assert_true(quoted || !strchr(",\"\r\n", *c));
        *to++ = *c;
    }
    *to = 0;
    assert_null(*value ? strchr("=@\t\r\n\x1b", *value) : NULL);
    for (uint32_t code, i = 0, bytes; value[i]; i += bytes) assert_true((bytes = (uint32_t)bl_utf8(value + i, &code)));
    free(csv.data);
}

static void test_csv(void **state) {
    static const char *const rows[][2] = {{"=1+1", "'=1+1"},
                                          {"+a", "'+a"},
                                          {"-a", "'-a"},
                                          {"@SUM(A1)", "'@SUM(A1)"},
                                          {"-1.5", "-1.5"},
                                          {"+2e3", "+2e3"},
                                          {"-1+1", "'-1+1"},
                                          {"\tx", "\\x09x"},
                                          {" =1+1", "' =1+1"},
                                          {"\u00a0=1", "'\u00a0=1"},
                                          {"\u200b\u3000=1", "'\u200b\u3000=1"},
                                          {"\ufeff=1", "\\uFEFF=1"},
                                          {"\uff1d1", "'\uff1d1"},
                                          {"\uff0b1", "'\uff0b1"},
                                          {"\uff0d1", "'\uff0d1"},
                                          {"\uff201", "'\uff201"},
                                          {" -1.5", " -1.5"},
                                          {"+-1", "'+-1"},
                                          {"-0x1p3", "'-0x1p3"},
                                          {"--1", "'--1"},
                                          {"\x1b[31m", "\\x1B[31m"},
                                          {"a\u202e\"b", "\"a\\u202E\"\"b\""},
                                          {"\"", "\"\"\"\""},
                                          {"\r=1", "\\x0D=1"},
                                          {"a=b", "a=b"},
                                          {"a,b", "\"a,b\""},
                                          {"a\"b", "\"a\"\"b\""},
                                          {"-", "'-"},
                                          {"-inf", "'-inf"},
                                          {"caf\xe9", "caf\\xE9"},
                                          {"--refresh 3", "'--refresh 3"}};
    each_text(look_csv);
    for (int i = 0; i < BL_COUNT(rows); i++) {
        struct bl_html csv = {0};
        bl_csv_text(&csv, rows[i][0]);
        assert_string_equal(csv.data, rows[i][1]);
        free(csv.data);
    }
}

/* --- numbers ------------------------------------------------------------------------------------ */

static void test_numbers(void **state) {
    static const double values[] = {0,     -0.0,  1,     -1,     999.4,  1e5,     123456789, 9.99e14,   1e15,
                                    -1e16, 1e100, 1e308, -1e308, 5e-324, -5e-324, INFINITY,  -INFINITY, NAN};
    for (int i = 0; i < BL_COUNT(values); i++) {
        const char *texts[] = {bl_ms(values[i]),    bl_signed_ms(values[i]), bl_percent(values[i]),
                               bl_whole(values[i]), bl_fixed(values[i], 3),  bl_short(values[i])};
        for (int k = 0; k < BL_COUNT(texts); k++) {
            assert_true(*texts[k] && strlen(texts[k]) < 30);
            assert_null(strstr(texts[k], "nan"));
            assert_null(strstr(texts[k], "inf"));
            assert_visible(texts[k]);
        }
    }
    assert_string_equal(bl_whole(-1234567), "−1,234,567");
    assert_string_equal(bl_whole(1e20), "1e+20");
}

/* An axis of any values ends, and no coordinate is other than a number. */
static void test_charts(void **state) {
    static const double values[] = {0,    1,     -1,    1e-300, 5e-324, 1e16,     1e16 + 2,
                                    1e99, -1e99, 1e308, -1e308, 1e-5,   INFINITY, NAN};
    double x[3], y[3];
    const struct bl_series series = {.label = "a", .css = "bn", .count = 3, .x = x, .y = y};
    const int n = BL_COUNT(values);
    for (int i = 0; i < n * n * n; i++)
        for (int way = 0; way < 4; way++) {
            for (int k = 0, rest = i; k < 3; k++, rest /= n)
                (way % 2 ? x : y)[k] = values[rest % n], (way % 2 ? y : x)[k] = k;
            struct bl_chart chart = {.title = "",
                                     .x_label = "",
                                     .series = &series,
                                     .count = 1,
                                     .y_low = way / 2 ? 0 : NAN,
                                     .y_high = NAN,
                                     .whole_x = way / 2};
            struct bl_html html = {0};
            bl_html(&html, "%s", "");
            bl_html_chart(&html, &chart);
            assert_true(!html.error && html.size < 6000);
            assert_null(strstr(html.data, "nan"));
            assert_null(strstr(html.data, "inf"));
            free(html.data);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8),    cmocka_unit_test(test_shown),  cmocka_unit_test(test_messages),
        cmocka_unit_test(test_json),    cmocka_unit_test(test_html),   cmocka_unit_test(test_csv),
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_charts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
