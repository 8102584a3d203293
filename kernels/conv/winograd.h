/* Winograd's transforms of one line, from elements that lie `s` apart; for kernels that include it after vec.h. The
 * matrices are Toom and Cook's for the points 0, +-1, infinity, with M 4 also +-2, written for points +-P and +-Q.
 *
 *  M  outputs of a tile along each axis: 2 or 4; required
 */
#define E (M + 2) // inputs of a tile along each axis

#if M == 2
#define INPUT_LINE(d, s, t)                                                                                            \
    t[0] = d[0] - d[2 * s];                                                                                            \
    t[1] = d[s] + d[2 * s];                                                                                            \
    t[2] = d[2 * s] - d[s];                                                                                            \
    t[3] = d[s] - d[3 * s];
#define OUTPUT_LINE(m, s, y)                                                                                           \
    y[0] = m[0] + m[s] + m[2 * s];                                                                                     \
    y[1] = m[s] - m[2 * s] - m[3 * s];
#define WEIGHT_LINE(g, s, u, type)                                                                                     \
    {                                                                                                                  \
        const type even = 0.5f * (g[0] + g[2 * s]), odd = 0.5f * g[s];                                                 \
        u[0] = g[0];                                                                                                   \
        u[1] = even + odd;                                                                                             \
        u[2] = even - odd;                                                                                             \
        u[3] = g[2 * s];                                                                                               \
    }
/* Transposed: gradients of outputs to elements, elements to gradients of weights. */
#define GRADIENT_LINE(y, s, t)                                                                                         \
    t[0] = y[0];                                                                                                       \
    t[1] = y[0] + y[s];                                                                                                \
    t[2] = y[0] - y[s];                                                                                                \
    t[3] = -y[s];
#define FINAL_LINE(u, s, g, type)                                                                                      \
    {                                                                                                                  \
        const type even = 0.5f * (u[s] + u[2 * s]), odd = 0.5f * (u[s] - u[2 * s]);                                    \
        g[0] = u[0] + even;                                                                                            \
        g[1] = odd;                                                                                                    \
        g[2] = u[3 * s] + even;                                                                                        \
    }
#else
#define P 1.0f
#define Q 2.0f
#define PP (P * P)
#define QQ (Q * Q)
#define INPUT_LINE(d, s, t)                                                                                            \
    {                                                                                                                  \
        const vec even_p = d[4 * s] - QQ * d[2 * s], odd_p = P * (d[3 * s] - QQ * d[s]);                               \
        const vec even_q = d[4 * s] - PP * d[2 * s], odd_q = Q * (d[3 * s] - PP * d[s]);                               \
        t[0] = d[4 * s] + (PP * QQ) * d[0] - (PP + QQ) * d[2 * s];                                                     \
        t[1] = even_p + odd_p;                                                                                         \
        t[2] = even_p - odd_p;                                                                                         \
        t[3] = even_q + odd_q;                                                                                         \
        t[4] = even_q - odd_q;                                                                                         \
        t[5] = d[5 * s] + (PP * QQ) * d[s] - (PP + QQ) * d[3 * s];                                                     \
    }
#define OUTPUT_LINE(m, s, y)                                                                                           \
    {                                                                                                                  \
        const vec even_p = m[s] + m[2 * s], odd_p = m[s] - m[2 * s];                                                   \
        const vec even_q = m[3 * s] + m[4 * s], odd_q = m[3 * s] - m[4 * s];                                           \
        y[0] = m[0] + even_p + even_q;                                                                                 \
        y[1] = P * odd_p + Q * odd_q;                                                                                  \
        y[2] = PP * even_p + QQ * even_q;                                                                              \
        y[3] = (P * PP) * odd_p + (Q * QQ) * odd_q + m[5 * s];                                                         \
    }
#define WEIGHT_LINE(g, s, u, type)                                                                                     \
    {                                                                                                                  \
        const float over_p = 1.0f / (2.0f * PP * (PP - QQ)), over_q = 1.0f / (2.0f * QQ * (QQ - PP));                  \
        const type even_p = (g[0] + PP * g[2 * s]) * over_p, odd_p = g[s] * (P * over_p);                              \
        const type even_q = (g[0] + QQ * g[2 * s]) * over_q, odd_q = g[s] * (Q * over_q);                              \
        u[0] = g[0] * (1.0f / (PP * QQ));                                                                              \
        u[1] = even_p + odd_p;                                                                                         \
        u[2] = even_p - odd_p;                                                                                         \
        u[3] = even_q + odd_q;                                                                                         \
        u[4] = even_q - odd_q;                                                                                         \
        u[5] = g[2 * s];                                                                                               \
    }
#define GRADIENT_LINE(y, s, t)                                                                                         \
    {                                                                                                                  \
        const vec even_p = y[0] + PP * y[2 * s], odd_p = P * (y[s] + PP * y[3 * s]);                                   \
        const vec even_q = y[0] + QQ * y[2 * s], odd_q = Q * (y[s] + QQ * y[3 * s]);                                   \
        t[0] = y[0];                                                                                                   \
        t[1] = even_p + odd_p;                                                                                         \
        t[2] = even_p - odd_p;                                                                                         \
        t[3] = even_q + odd_q;                                                                                         \
        t[4] = even_q - odd_q;                                                                                         \
        t[5] = y[3 * s];                                                                                               \
    }
#define FINAL_LINE(u, s, g, type)                                                                                      \
    {                                                                                                                  \
        const float over_p = 1.0f / (2.0f * PP * (PP - QQ)), over_q = 1.0f / (2.0f * QQ * (QQ - PP));                  \
        const type even_p = over_p * (u[s] + u[2 * s]), odd_p = over_p * (u[s] - u[2 * s]);                            \
        const type even_q = over_q * (u[3 * s] + u[4 * s]), odd_q = over_q * (u[3 * s] - u[4 * s]);                    \
        g[0] = u[0] * (1.0f / (PP * QQ)) + even_p + even_q;                                                            \
        g[1] = P * odd_p + Q * odd_q;                                                                                  \
        g[2] = PP * even_p + QQ * even_q + u[5 * s];                                                                   \
    }
#endif
