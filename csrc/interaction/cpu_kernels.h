// Entry points of the kernels behind equinet::interaction and equinet::interaction_gradient: what a
// layer does at each atom, before and after the sum over edges.
//
// Coefficients lm of a function come with channels. Features between layers are stored component by
// component, [lm, atoms, channels], all else atom by atom, [atoms, lm, channels].
#pragma once

#include <stdint.h>

#include <algorithm>

#include "../common/isa.h"
#include "../common/vectors.h"

namespace equinet {

// Number of atoms whose rows are multiplied with a matrix while it is in the cache.
constexpr int64_t ATOMS_AT_ONCE = 32;

// Points on the sphere with matrices to samples [points, from] and from them [to, points]; no points
// where functions are not sampled.
template <class T>
struct SampleGrid {
  const T *sample, *project;
  int64_t points;
};

// Sizes and weights of a layer. Matrices [in, out] are those of a degree l; in the gradient they are
// transposed, and lead from the channels of a result to those of an operand.
template <class T>
struct InteractionJob {
  int64_t atoms, seen;               // atoms that are evaluated, and those whose features are read
  int64_t channels, inner;           // of features, and inside the convolution
  int64_t lm_in, lm_filter, lm_out;  // numbers of components
  int64_t lm_kept, kinds;            // components of residual features, and species
  int64_t order;                     // highest power
  const int64_t* species;            // [atoms]
  const T *up, *down, *update;       // [l, in, out]
  const T* residual;                 // [kinds, l, in, out]
  const T* powers;                   // [kinds, order, l, channels]
  SampleGrid<T> filter_grid, power_grid;

  // Rows of an atom in the sum over edges, and of an atom in the samples that it reads.
  int64_t sum_rows() const { return filter_grid.points ? filter_grid.points : lm_filter; }
  int64_t sample_rows() const { return filter_grid.points ? filter_grid.points : 1; }
};

// Operands and results of a layer, or of its gradient, in which `features`, `samples`, `sums` and
// `results` hold the gradients by them.
template <class T>
struct InteractionData {
  const T* density;     // [atoms, lm_filter, channels], known in the gradient
  T* new_density;       // the same, where it is computed
  const T* features;    // [lm_in, seen, channels]
  T* by_features;
  const T* samples;     // [seen, sample_rows, inner]
  T* new_samples;
  const T* sums;        // [atoms, sum_rows, inner]
  T* new_sums;
  const T* results;     // [lm_out, atoms, channels]
  T* new_results;
};

// Amount of working memory that is enough for every kernel.
template <class T>
int64_t interaction_scratch(const InteractionJob<T>& job) {
  const int64_t widest = std::max(job.channels, job.inner);
  const int64_t components = std::max(job.lm_in, std::max(job.lm_filter, job.lm_out));
  return (2 * ATOMS_AT_ONCE * components + 3 * job.power_grid.points + components) * widest;
}

// From features to samples, for the atoms first <= n < last that are read; from sums to results,
// for atoms that are evaluated; and the gradients of both.
EQUINET_DECLARE(
    template <class T> void sample_features(const InteractionJob<T>&, const InteractionData<T>&,
                                            int64_t, int64_t, T* scratch);
    template <class T> void finish_atoms(const InteractionJob<T>&, const InteractionData<T>&,
                                         int64_t, int64_t, T* scratch);
    template <class T> void sample_gradient(const InteractionJob<T>&, const InteractionData<T>&,
                                            int64_t, int64_t, T* scratch);
    template <class T> void finish_gradient(const InteractionJob<T>&, const InteractionData<T>&,
                                            int64_t, int64_t, T* scratch))

}  // namespace equinet
