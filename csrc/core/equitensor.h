/* The face of the core in C: kernels over arrays in the caller's memory. Nothing else is visible outside the library.
 *
 * Every kernel returns EQUITENSOR_OK or a code of equitensor_status, with a message in equitensor_error(); nothing is
 * thrown and nothing is printed. Its arguments are, in this order,
 *
 *     precision      EQUITENSOR_FLOAT32 or EQUITENSOR_FLOAT64, that of all arrays `const void*` and `void*`
 *     sizes, flags   int64_t
 *     constants      double, where there are any
 *     operands       const; contiguous, channels fastest; those that may be NULL say so
 *     results        written, not added to; NULL where one is not wanted
 *     threads        how many the call may use; the same number always gives the same bits
 *
 * Kernels keep no state: any may run at once with any other. Indices in arrays are checked, sizes are the caller's word.
 * l is a degree, L the highest one; a feature has (L+1)^2 components, `degrees` is L+1. (n, d, C) is the shape of an
 * array of n features with d components of C channels each.
 */
#ifndef EQUITENSOR_H
#define EQUITENSOR_H

#include <stdint.h>

#if defined(_WIN32)
#define EQUITENSOR_API __declspec(dllexport)
#else
#define EQUITENSOR_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum equitensor_precision { EQUITENSOR_FLOAT32 = 0, EQUITENSOR_FLOAT64 = 1 };

enum equitensor_status {
  EQUITENSOR_OK = 0,
  EQUITENSOR_INVALID_ARGUMENT = 1,
  EQUITENSOR_OUT_OF_MEMORY = 2,
  EQUITENSOR_FAILED = 3
};

/* Why the last call of this thread that failed did so. */
EQUITENSOR_API const char* equitensor_error(void);

/* The vectors that kernels use on this processor: "SSE2", "AVX2", "AVX-512", "128-bit vectors". */
EQUITENSOR_API const char* equitensor_instruction_set(void);

/* Whether the library was built with OpenMP; without it every call is one thread. */
EQUITENSOR_API int equitensor_has_openmp(void);

/* y = silu(x) = x / (1 + exp(-x)); its derivative times g; and of <h, that>: the gradients in g and in x. */
EQUITENSOR_API int equitensor_silu(int precision, int64_t count, const void* x, void* y, int threads);
EQUITENSOR_API int equitensor_silu_backward(int precision, int64_t count, const void* x, const void* g, void* dx,
                                            int threads);
EQUITENSOR_API int equitensor_silu_second(int precision, int64_t count, const void* x, const void* g, const void* h,
                                          void* dg, void* dx, int threads);

/* y_lm = x_lm W_l, or x_lm W_l^T where `turned`: y (items, degrees^2, out) of x (items, degrees^2, in) and W (degrees,
 * in, out); turned, y has `in` and x `out` channels. */
EQUITENSOR_API int equitensor_degree_linear(int precision, int64_t items, int64_t degrees, int64_t in, int64_t out,
                                            int64_t turned, const void* x, const void* weight, void* y, int threads);

/* sum over items and m of x_lm g_lm^T: (degrees, in, out). */
EQUITENSOR_API int equitensor_degree_outer(int precision, int64_t items, int64_t degrees, int64_t in, int64_t out,
                                           const void* x, const void* g, void* sum, int threads);

/* A sparse tensor T_ijk of a product lies in index (3, 4, entries) and coefficients (3, entries): for each slot of T, the
 * result's component, that of the first and of the second operand, and the path, sorted by result, first operand and
 * path. The operands of slot 2 are those of slots 0 and 1; of slot 1, those of 0 and 2; of slot 0, those of 1 and 2.
 *
 * z_k = sum of T x_i y_j into `slot`: z (items, size of the slot, channels). */
EQUITENSOR_API int equitensor_channel_product(int precision, int64_t items, int64_t channels, int64_t slot,
                                              int64_t size0, int64_t size1, int64_t size2, int64_t entries,
                                              const void* x, const void* y, const int32_t* index,
                                              const double* coefficients, void* z, int threads);

/* With F = sum over atoms i, slots j, components m and channels c of Y_jm a_jc b_jc G_imc, a and b (slots, channels), Y
 * (slots, components), G (atoms, components, channels), the slots of atom i being start[i] .. start[i + 1], start (atoms
 * + 1,):
 * gather is dF/dG; read is dF/db with factor for a, rows at the slots rev (slots,) of the reverse edges.
 *
 * gradient: of F with respect to all four; with `tangents`, the JVP of these gradients with the tangents h (NULL: zero).
 * With rev, rows of a and b, of their tangents and of their gradients lie at the slots of the reverse edges. */
EQUITENSOR_API int equitensor_edge_gather(int precision, int64_t atoms, int64_t slots, int64_t components,
                                          int64_t channels, const void* harmonics, const void* a, const void* b,
                                          const int64_t* start, void* sum, int threads);
EQUITENSOR_API int equitensor_edge_read(int precision, int64_t atoms, int64_t slots, int64_t components,
                                        int64_t channels, const void* harmonics, const void* features,
                                        const void* factor, const int64_t* start, const int64_t* rev, void* out,
                                        int threads);
EQUITENSOR_API int equitensor_edge_gradient(int precision, int64_t atoms, int64_t slots, int64_t components,
                                            int64_t channels, int64_t tangents, const void* harmonics, const void* a,
                                            const void* b, const void* features, const int64_t* start,
                                            const int64_t* rev, const void* h_harmonics, const void* h_a,
                                            const void* h_b, const void* h_features, void* dharmonics, void* da,
                                            void* db, void* dfeatures, int threads);

/* Of vectors r (edges, 3): real spherical harmonics (edges, (lmax+1)^2) of r/d, Bessel functions b_n(d) (edges,
 * num_radial), and those times the envelope. index (3, entries) and coefficients (entries,): Y_out is the sum of
 * coefficient Y_in r_axis, rows out, in, axis, by rising degree.
 *
 * With gradients g with respect to the three (NULL: zero), dvectors is the gradient with respect to r; with a tangent h of
 * r, the three and dvectors are the gradients of <h, dvectors> with respect to the three g and r. */
EQUITENSOR_API int equitensor_edge_geometry(int precision, int64_t edges, int64_t num_radial, int64_t lmax,
                                            int64_t entries, double cutoff, const void* vectors, const void* h,
                                            const void* g_harmonics, const void* g_functions, const void* g_radial,
                                            const int32_t* index, const double* coefficients, void* harmonics,
                                            void* functions, void* radial, void* dvectors, int threads);

/* Powers P_1 = x, P_k = P_(k-1) (x) x of densities x (atoms, components, channels), weighted by element: out_m = sum over
 * k of weight[element, k, l(m)] P_km (atoms, components, channels), or, with `invariants`, w_1 x_00 + sum over k of w_k
 * sum_m P_am P_bm, a + b = k (atoms, 1, channels). weight (elements, order, degrees or 1, channels); mix (paths,
 * channels) multiplies the tensor's paths (NULL: ones); `symmetric`: T is in its two operands.
 *
 * Without g, out. With g, the gradients with respect to x, weight and mix; with `tangents`, the JVP of out and of these
 * gradients with the tangents h (NULL: zero). */
EQUITENSOR_API int equitensor_density_product(int precision, int64_t atoms, int64_t components, int64_t channels,
                                              int64_t elements, int64_t order, int64_t degrees, int64_t paths,
                                              int64_t entries, int64_t invariants, int64_t symmetric, int64_t tangents,
                                              const void* x, const void* weight, const void* mix, const void* g,
                                              const void* h_x, const void* h_weight, const void* h_mix,
                                              const int64_t* species, const int32_t* index, const double* coefficients,
                                              void* out, void* dx, void* dweight, void* dmix, int threads);

/* Polynomials z_M = sum over entries of W[element] x_k v_node of features x (atoms, components, channels), W = sum of
 * weight[element, path] reduction[path, r] basis[r, position]; weight (elements, paths, channels), reduction (paths,
 * rank) or NULL for the unit matrix, basis (rank, basis_size). sizes (7): components, outputs, products, rows, monomials,
 * entries, weights; table as `o3.polynomial_terms` of the Python package lays it out. strides (5, 3): of x, h_x, g, out
 * and dx, in elements from atom to atom, component to component, channel to channel.
 *
 * Without g, out. With g, the gradients with respect to x and weight; with `tangents`, the JVP of out and of these
 * gradients with the tangents h (NULL: zero). */
EQUITENSOR_API int equitensor_many_body(int precision, int64_t atoms, int64_t channels, int64_t elements, int64_t paths,
                                        int64_t rank, int64_t basis_size, int64_t table_length, int64_t tangents,
                                        const void* x, const void* weight, const void* g, const void* h_x,
                                        const void* h_weight, const int64_t* element, const void* reduction,
                                        const void* basis, const int32_t* table, const int64_t* sizes,
                                        const int64_t* strides, void* out, void* dx, void* dweight, int threads);

/* Products channel by channel: path p takes components x[i], y[j] and weights w[row] to z[k] with its couplings (k, i,
 * j) in table; plan (paths, 7): where its blocks start in the components of x and y, its row of w, where its block of z
 * starts, and the blocks' sizes. sizes_x, _y, _z: the blocks, 2 l + 1 each. Rows hold blocks (channels, 2 l + 1), or
 * (2 l + 1, channels) where `channels_last`. w (rows_w, items_w, channels_w), items_w and channels_w 1 where shared.
 *
 * Without g, z. With g, the gradients; with `tangents`, the JVP of z and of these gradients with the tangents h (NULL:
 * zero). */
EQUITENSOR_API int equitensor_uuu_product(int precision, int64_t items, int64_t channels, int64_t channels_last,
                                          int64_t rows_w, int64_t items_w, int64_t channels_w, int64_t paths,
                                          int64_t table_length, int64_t blocks_x, int64_t blocks_y, int64_t blocks_z,
                                          int64_t tangents, const void* x, const void* y, const void* w, const void* g,
                                          const void* h_x, const void* h_y, const void* h_w, const void* table,
                                          const int64_t* plan, const int64_t* sizes_x, const int64_t* sizes_y,
                                          const int64_t* sizes_z, void* z, void* dx, void* dy, void* dw, int threads);

/* z_i = sum over edges e: j -> i of w_e (x_j (x) y_e), path by path; x (nodes, width_x), y (edges, width_y), w (edges,
 * width_w), z (nodes, width_z), rows in e3nn's layout. plan (paths, 8): where a path's blocks start in the rows of x, y,
 * w and z, its channels, and 2 l + 1 of x, y and z; table: its couplings (j, i, k), one path after the other.
 *
 * Without g, z. With g, the gradients; with `tangents`, the JVP of z and of these gradients with the tangents h (NULL:
 * zero). */
EQUITENSOR_API int equitensor_uvu_convolution(int precision, int64_t nodes, int64_t edges, int64_t width_x,
                                              int64_t width_y, int64_t width_w, int64_t width_z, int64_t paths,
                                              int64_t table_length, int64_t tangents, const void* x, const void* y,
                                              const void* w, const void* g, const void* h_x, const void* h_y,
                                              const void* h_w, const int64_t* sender, const int64_t* receiver,
                                              const void* table, const int64_t* plan, void* z, void* dx, void* dy,
                                              void* dw, int threads);

/* The same for items, each with rows of its own of x, y, w and z; plan sorted by block of x, table: for each block of x
 * a matrix (width_y, 2 l1 + 1, all 2 l3 + 1 of its paths). */
EQUITENSOR_API int equitensor_uvu_product(int precision, int64_t items, int64_t width_x, int64_t width_y,
                                          int64_t width_w, int64_t width_z, int64_t paths, int64_t table_length,
                                          int64_t tangents, const void* x, const void* y, const void* w, const void* g,
                                          const void* h_x, const void* h_y, const void* h_w, const void* table,
                                          const int64_t* plan, void* z, void* dx, void* dy, void* dw, int threads);

/* The convolution whose weights w (edges, width_w) are hidden (edges, rows) times matrix (rows, width_w): they are made
 * for a few edges at a time and never stored. */
EQUITENSOR_API int equitensor_radial_convolution(int precision, int64_t nodes, int64_t edges, int64_t width_x,
                                                 int64_t width_y, int64_t rows, int64_t width_w, int64_t width_z,
                                                 int64_t paths, int64_t table_length, int64_t tangents, const void* x,
                                                 const void* y, const void* hidden, const void* matrix, const void* g,
                                                 const void* h_x, const void* h_y, const void* h_hidden,
                                                 const void* h_matrix, const int64_t* sender, const int64_t* receiver,
                                                 const void* table, const int64_t* plan, void* z, void* dx, void* dy,
                                                 void* dhidden, void* dmatrix, int threads);

/* Messages m = silu(x) V, x = b W + S[species of the sender] + T[that of the receiver] + bias, for each slot: b (slots,
 * num_radial), W (num_radial, channels), S and T (elements, channels), V (channels, channels), m (slots, channels);
 * species (atoms,), sender and receiver (slots,). x (`before`) and silu(x) (`hidden`) are further results, inputs of the others.
 *
 * first: the gradients, from g with respect to m and `more_before` to x (NULL: zero); `back` (2, slots, channels)
 * holds those with respect to silu(x) and x. second: with a tangent h of b, the gradients of <h, db> with respect to W, V,
 * x and g. */
EQUITENSOR_API int equitensor_edge_embedding(int precision, int64_t atoms, int64_t slots, int64_t num_radial,
                                             int64_t elements, int64_t channels, const void* functions,
                                             const void* radial, const void* senders, const void* receivers,
                                             const void* bias, const void* out, const int64_t* species,
                                             const int64_t* sender, const int64_t* receiver, void* messages,
                                             void* before, void* hidden, int threads);
EQUITENSOR_API int equitensor_edge_embedding_first(int precision, int64_t atoms, int64_t slots, int64_t num_radial,
                                                   int64_t elements, int64_t channels, const void* functions,
                                                   const void* radial, const void* out, const int64_t* species,
                                                   const int64_t* sender, const int64_t* receiver, const void* before,
                                                   const void* hidden, const void* g, const void* more_before,
                                                   void* dfunctions, void* dradial, void* dsenders, void* dreceivers,
                                                   void* dbias, void* dout, void* back, int threads);
EQUITENSOR_API int equitensor_edge_embedding_second(int precision, int64_t slots, int64_t num_radial, int64_t channels,
                                                    const void* radial, const void* out, const void* before,
                                                    const void* g, const void* back, const void* h_functions,
                                                    void* dradial, void* dout, void* dbefore, void* dg, int threads);

/* Densities of messages, mixed by degree and multiplied: a = m V, b = R W, A = gather(Y, a, b), B = A M by degree, and of B
 * what equitensor_density_product gives. m (slots, edge_channels), R (slots, num_radial), Y (slots, degrees^2), start as
 * in equitensor_edge_gather, V (edge_channels, gathered), W (num_radial, gathered), M (degrees, gathered, channels).
 * `inner` holds a, b and B one after the other, `sum` A: further results, inputs of the others.
 *
 * first: the gradients, from g with respect to the output and `more_inner` to a, b and B (NULL: zero); `back` holds those
 * with respect to a, b and B, back_sum that to A. second: with tangents h of m, R and Y (NULL: zero), the gradients of
 * <h, (dm, dR, dY)> with respect to Y, the weights, a, b, B (`dinner`) and g. */
EQUITENSOR_API int equitensor_message_density(int precision, int64_t atoms, int64_t slots, int64_t degrees,
                                              int64_t edge_channels, int64_t num_radial, int64_t gathered,
                                              int64_t channels, int64_t elements, int64_t order, int64_t paths,
                                              int64_t entries, int64_t invariants, int64_t symmetric,
                                              const void* messages, const void* radial, const void* harmonics,
                                              const void* w_messages, const void* w_radial, const void* matrices,
                                              const void* weight, const void* mix, const int64_t* species,
                                              const int32_t* index, const double* coefficients, const int64_t* start,
                                              void* out, void* inner, void* sum, int threads);
EQUITENSOR_API int equitensor_message_density_first(
    int precision, int64_t atoms, int64_t slots, int64_t degrees, int64_t edge_channels, int64_t num_radial,
    int64_t gathered, int64_t channels, int64_t elements, int64_t order, int64_t paths, int64_t entries,
    int64_t invariants, int64_t symmetric, const void* messages, const void* radial, const void* harmonics,
    const void* w_messages, const void* w_radial, const void* matrices, const void* weight, const void* mix,
    const int64_t* species, const int32_t* index, const double* coefficients, const int64_t* start, const void* inner,
    const void* sum, const void* g, const void* more_inner, void* dmessages, void* dradial, void* dharmonics,
    void* dw_messages, void* dw_radial, void* dmatrices, void* dweight, void* dmix, void* back, void* back_sum,
    int threads);
EQUITENSOR_API int equitensor_message_density_second(
    int precision, int64_t atoms, int64_t slots, int64_t degrees, int64_t edge_channels, int64_t num_radial,
    int64_t gathered, int64_t channels, int64_t elements, int64_t order, int64_t paths, int64_t entries,
    int64_t invariants, int64_t symmetric, const void* harmonics, const void* w_messages, const void* w_radial,
    const void* matrices, const void* weight, const void* mix, const int64_t* species, const int32_t* index,
    const double* coefficients, const int64_t* start, const void* inner, const void* g, const void* back,
    const void* back_sum, const void* h_messages, const void* h_radial, const void* h_harmonics, void* dharmonics,
    void* dw_messages, void* dw_radial, void* dmatrices, void* dweight, void* dmix, void* dinner, void* dg,
    int threads);

/* New messages m + silu(x) V, x = read(Y, P A, f) + m W + s S + bias with f = R F and s the scalars of features P (atoms,
 * degrees^2, channels): m (slots, edge_channels), R (slots, num_radial), Y (slots, degrees^2), start and rev
 * as in equitensor_edge_read. F is w_radial (num_radial, edge_channels), A matrices (degrees, channels, edge_channels), W
 * w_messages, S w_scalars (channels, edge_channels), V out. `inner` holds f, P A and x one after the other, `hidden`
 * silu(x): further results, inputs of the others.
 *
 * first: the gradients, given g w.r.t. the new messages and `more_inner` w.r.t. f, P A and x (NULL: zero); `back` holds
 * those w.r.t. f, P A, x, silu(x) and s S + bias (atoms, edge_channels). second: with tangents h of m, P, R and Y (NULL:
 * zero), the gradients of the product of h with the gradients w.r.t. these, w.r.t. Y, the weights, f, P A, x (`dinner`)
 * and g. */
EQUITENSOR_API int equitensor_edge_update(int precision, int64_t atoms, int64_t slots, int64_t degrees,
                                          int64_t channels, int64_t edge_channels, int64_t num_radial,
                                          const void* messages, const void* features, const void* radial,
                                          const void* harmonics, const void* w_radial, const void* matrices,
                                          const void* w_messages, const void* w_scalars, const void* bias,
                                          const void* out, const int64_t* start, const int64_t* rev, void* updated,
                                          void* inner, void* hidden, int threads);
EQUITENSOR_API int equitensor_edge_update_first(
    int precision, int64_t atoms, int64_t slots, int64_t degrees, int64_t channels, int64_t edge_channels,
    int64_t num_radial, const void* messages, const void* features, const void* radial, const void* harmonics,
    const void* w_radial, const void* matrices, const void* w_messages, const void* w_scalars, const void* out,
    const int64_t* start, const int64_t* rev, const void* inner, const void* hidden, const void* g,
    const void* more_inner, void* dmessages, void* dfeatures, void* dradial, void* dharmonics, void* dw_radial,
    void* dmatrices, void* dw_messages, void* dw_scalars, void* dbias, void* dout, void* back, int threads);
EQUITENSOR_API int equitensor_edge_update_second(int precision, int64_t atoms, int64_t slots, int64_t degrees,
                                                 int64_t channels, int64_t edge_channels, int64_t num_radial,
                                                 const void* harmonics, const void* w_radial, const void* matrices,
                                                 const void* w_messages, const void* w_scalars, const void* out,
                                                 const int64_t* start, const int64_t* rev, const void* inner,
                                                 const void* g, const void* back, const void* h_messages,
                                                 const void* h_features, const void* h_radial, const void* h_harmonics,
                                                 void* dharmonics, void* dw_radial, void* dmatrices, void* dw_messages,
                                                 void* dw_scalars, void* dout, void* dinner, void* dg, int threads);

#ifdef __cplusplus
}
#endif

#endif
