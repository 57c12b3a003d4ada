// What a layer does at each atom, for one instruction set.
//
// Powers of a density are taken of its samples at points from which they are projected exactly.

#include "cpu_kernels.h"

#include "cpu_matrix.h"

namespace equinet {
namespace EQUINET_ISA {

namespace {

template <class T>
using Job = InteractionJob<T>;
template <class T>
using Data = InteractionData<T>;

// Numbers first, first + 1, ... of rows.
struct Numbers {
  int64_t values[ATOMS_AT_ONCE];
  explicit Numbers(int64_t first) {
    for (int64_t i = 0; i < ATOMS_AT_ONCE; ++i) values[i] = first + i;
  }
};

int64_t degree_of(int64_t lm) {
  int64_t degree = 0;
  while ((degree + 1) * (degree + 1) <= lm) ++degree;
  return degree;
}

// c [rows, columns] = a b.
template <class T>
void multiply_all(const Factors<T>& factors, int64_t rows, int64_t columns, T* c) {
  for (int64_t first = 0; first < rows; first += ATOMS_AT_ONCE) {
    const Numbers numbers(first);
    multiply(&factors, 1, numbers.values, std::min(ATOMS_AT_ONCE, rows - first), columns, c,
             columns);
  }
}

// Mixes the channels of every component: a [count, components, in] to c of other strides.
template <class T>
void mix(const T* a, int64_t atom_stride, int64_t component_stride, int64_t in, const T* matrices,
         int64_t components, int64_t count, int64_t out, T* c, int64_t c_atom_stride,
         int64_t c_component_stride) {
  const Numbers numbers(0);
  for (int64_t lm = 0; lm < components; ++lm) {
    const Factors<T> factors = {a + lm * component_stride, atom_stride, 1,
                                matrices + degree_of(lm) * in * out, in};
    multiply(&factors, 1, numbers.values, count, out, c + lm * c_component_stride, c_atom_stride);
  }
}

// Mixes the channels of the rows of `count` atoms, and adds those of residual features of the atoms
// among them that are evaluated, by a matrix of their species.
template <class T>
void mix_with_residual(const Job<T>& job, int64_t first, int64_t count, Factors<T> mixed,
                       int64_t mixed_stride, const T* matrices, int64_t components, const T* extra,
                       int64_t extra_atoms, T* c, int64_t c_atoms) {
  const int64_t size = job.channels * job.channels, atoms = std::min(count, job.atoms - first);
  const int64_t degrees = degree_of(job.lm_kept - 1) + 1;
  const Numbers numbers(0);
  for (int64_t lm = 0; lm < components; ++lm) {
    const int64_t degree = degree_of(lm);
    Factors<T> factors[2] = {mixed, {}};
    factors[0].a += lm * mixed_stride;
    factors[0].b = matrices + degree * mixed.inner * job.channels;
    T* out = c + (lm * c_atoms + first) * job.channels;
    const int64_t plain = lm < job.lm_kept ? std::max<int64_t>(atoms, 0) : 0;
    multiply(factors, 1, numbers.values + plain, count - plain, job.channels, out, job.channels);
    if (plain == 0) continue;
    for (int64_t kind = 0; kind < job.kinds; ++kind) {
      int64_t rows[ATOMS_AT_ONCE], found = 0;
      for (int64_t i = 0; i < plain; ++i) {
        if (job.species[first + i] == kind) rows[found++] = i;
      }
      factors[1] = {extra + (lm * extra_atoms + first) * job.channels, job.channels, 1,
                    job.residual + (kind * degrees + degree) * size, job.channels};
      multiply(factors, 2, rows, found, job.channels, out, job.channels);
    }
  }
}

template <class T>
const T* power_weights(const Job<T>& job, int64_t atom, int64_t power, int64_t lm) {
  const int64_t degrees = degree_of(job.lm_out - 1) + 1;
  const int64_t row = (job.species[atom] * job.order + power - 1) * degrees + degree_of(lm);
  return job.powers + row * job.channels;
}

// Adds the powers of the density of an atom, weighted: [lm_out, channels].
template <class T>
void add_powers(const Job<T>& job, int64_t atom, const T* density, T* scratch, T* messages) {
  const int64_t channels = job.channels, points = job.power_grid.points;
  T *samples = scratch, *power = samples + points * channels, *found = power + points * channels;
  for (int64_t lm = 0; lm < job.lm_out; ++lm) {
    const T* weights = power_weights(job, atom, 1, lm);
    for (int64_t i = 0; i < channels; ++i) {
      messages[lm * channels + i] = weights[i] * density[lm * channels + i];
    }
  }
  if (job.order == 1) return;
  const SampleGrid<T>& grid = job.power_grid;
  multiply_all({grid.sample, job.lm_filter, 1, density, job.lm_filter}, points, channels, samples);
  const T* factor = samples;
  for (int64_t n = 2; n <= job.order; ++n, factor = power) {
    for (int64_t i = 0; i < points * channels; ++i) power[i] = factor[i] * samples[i];
    multiply_all({grid.project, points, 1, power, points}, job.lm_out, channels, found);
    for (int64_t lm = 0; lm < job.lm_out; ++lm) {
      const T* weights = power_weights(job, atom, n, lm);
      for (int64_t i = 0; i < channels; ++i) {
        messages[lm * channels + i] += weights[i] * found[lm * channels + i];
      }
    }
  }
}

// The gradient by the density of an atom [lm_filter, channels] from that by the sum of powers.
template <class T>
void powers_gradient(const Job<T>& job, int64_t atom, const T* density, const T* gradient,
                     T* scratch, T* by_density) {
  const int64_t channels = job.channels, points = job.power_grid.points;
  T *samples = scratch, *slope = samples + points * channels, *found = slope + points * channels;
  T* weighted = found + points * channels;
  const SampleGrid<T>& grid = job.power_grid;
  if (job.order > 1) {
    multiply_all({grid.sample, job.lm_filter, 1, density, job.lm_filter}, points, channels,
                 samples);
    // The slope of all powers at the points, by the rule of Horner.
    for (int64_t n = job.order; n > 1; --n) {
      for (int64_t lm = 0; lm < job.lm_out; ++lm) {
        const T* weights = power_weights(job, atom, n, lm);
        for (int64_t i = 0; i < channels; ++i) {
          weighted[lm * channels + i] = T(n) * weights[i] * gradient[lm * channels + i];
        }
      }
      multiply_all({grid.project, 1, points, weighted, job.lm_out}, points, channels, found);
      for (int64_t i = 0; i < points * channels; ++i) {
        const T higher = n == job.order ? found[i] : slope[i] + found[i];
        slope[i] = higher * samples[i];
      }
    }
    multiply_all({grid.sample, 1, job.lm_filter, slope, points}, job.lm_filter, channels,
                 by_density);
  } else {
    std::fill(by_density, by_density + job.lm_filter * channels, T{0});
  }
  for (int64_t lm = 0; lm < job.lm_out; ++lm) {
    const T* weights = power_weights(job, atom, 1, lm);
    for (int64_t i = 0; i < channels; ++i) {
      by_density[lm * channels + i] += weights[i] * gradient[lm * channels + i];
    }
  }
}

// Calls f(first, count) for at most ATOMS_AT_ONCE atoms after the other.
template <class F>
void for_chunks(int64_t first, int64_t last, const F& f) {
  for (; first < last; first += ATOMS_AT_ONCE) f(first, std::min(ATOMS_AT_ONCE, last - first));
}

}  // namespace

template <class T>
void sample_features(const Job<T>& job, const Data<T>& data, int64_t begin, int64_t end,
                     T* scratch) {
  const int64_t rows = job.sample_rows(), inner = job.inner, points = job.filter_grid.points;
  for_chunks(begin, end, [&](int64_t first, int64_t count) {
    T* samples = data.new_samples + first * rows * inner;
    T* mixed = points ? scratch : samples;
    mix(data.features + first * job.channels, job.channels, job.seen * job.channels, job.channels,
        job.up, job.lm_in, count, inner, mixed, job.lm_in * inner, inner);
    for (int64_t i = 0; points && i < count; ++i) {
      multiply_all({job.filter_grid.sample, job.lm_in, 1, mixed + i * job.lm_in * inner, job.lm_in},
                   points, inner, samples + i * points * inner);
    }
  });
}

template <class T>
void finish_atoms(const Job<T>& job, const Data<T>& data, int64_t begin, int64_t end, T* scratch) {
  const int64_t channels = job.channels, inner = job.inner, points = job.filter_grid.points;
  const int64_t block = ATOMS_AT_ONCE * job.lm_filter * std::max(channels, inner);
  T *projected = scratch, *messages = projected + block, *rest = messages + block;
  for_chunks(begin, end, [&](int64_t first, int64_t count) {
    const T* sums = data.sums + first * job.sum_rows() * inner;
    for (int64_t i = 0; points && i < count; ++i) {
      multiply_all({job.filter_grid.project, points, 1, sums + i * points * inner, points},
                   job.lm_filter, inner, projected + i * job.lm_filter * inner);
    }
    T* density = data.new_density + first * job.lm_filter * channels;
    mix(points ? projected : sums, job.lm_filter * inner, inner, inner, job.down, job.lm_filter,
        count, channels, density, job.lm_filter * channels, channels);
    for (int64_t i = 0; i < count; ++i) {
      add_powers(job, first + i, density + i * job.lm_filter * channels, rest,
                 messages + i * job.lm_out * channels);
    }
    mix_with_residual(job, first, count, {messages, job.lm_out * channels, 1, nullptr, channels},
                      channels, job.update, job.lm_out, data.features, job.seen, data.new_results,
                      job.atoms);
  });
}

template <class T>
void finish_gradient(const Job<T>& job, const Data<T>& data, int64_t begin, int64_t end,
                     T* scratch) {
  const int64_t channels = job.channels, inner = job.inner, points = job.filter_grid.points;
  const int64_t block = ATOMS_AT_ONCE * job.lm_filter * std::max(channels, inner);
  T *messages = scratch, *by_density = messages + block, *rest = by_density + block;
  for_chunks(begin, end, [&](int64_t first, int64_t count) {
    mix(data.results + first * channels, channels, job.atoms * channels, channels, job.update,
        job.lm_out, count, channels, messages, job.lm_out * channels, channels);
    for (int64_t i = 0; i < count; ++i) {
      powers_gradient(job, first + i, data.density + (first + i) * job.lm_filter * channels,
                      messages + i * job.lm_out * channels, rest,
                      by_density + i * job.lm_filter * channels);
    }
    T* sums = data.new_sums + first * job.sum_rows() * inner;
    T* projected = points ? messages : sums;
    mix(by_density, job.lm_filter * channels, channels, channels, job.down, job.lm_filter, count,
        inner, projected, job.lm_filter * inner, inner);
    for (int64_t i = 0; points && i < count; ++i) {
      multiply_all({job.filter_grid.project, 1, points, projected + i * job.lm_filter * inner,
                    job.lm_filter},
                   points, inner, sums + i * points * inner);
    }
  });
}

template <class T>
void sample_gradient(const Job<T>& job, const Data<T>& data, int64_t begin, int64_t end,
                     T* scratch) {
  const int64_t rows = job.sample_rows(), inner = job.inner, points = job.filter_grid.points;
  for_chunks(begin, end, [&](int64_t first, int64_t count) {
    const T* samples = data.samples + first * rows * inner;
    for (int64_t i = 0; points && i < count; ++i) {
      multiply_all({job.filter_grid.sample, 1, job.lm_in, samples + i * points * inner, points},
                   job.lm_in, inner, scratch + i * job.lm_in * inner);
    }
    mix_with_residual(job, first, count,
                      {points ? scratch : samples, job.lm_in * inner, 1, nullptr, inner}, inner,
                      job.up, job.lm_in, data.results, job.atoms, data.by_features, job.seen);
  });
}

#define EQUINET_INSTANTIATE(T)                                                               \
  template void sample_features(const Job<T>&, const Data<T>&, int64_t, int64_t, T*);        \
  template void finish_atoms(const Job<T>&, const Data<T>&, int64_t, int64_t, T*);           \
  template void sample_gradient(const Job<T>&, const Data<T>&, int64_t, int64_t, T*);        \
  template void finish_gradient(const Job<T>&, const Data<T>&, int64_t, int64_t, T*);
EQUINET_INSTANTIATE(float)
EQUINET_INSTANTIATE(double)

}  // namespace EQUINET_ISA
}  // namespace equinet
