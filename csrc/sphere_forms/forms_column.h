// Evaluates any forms on the sphere for one column by interpreting a plan, for forms without
// compiled products. It is the work of one thread of a CUDA kernel. Plan and tables lie in memory
// that all threads read; the values of a thread lie in scratch memory, where those of 32 threads
// are interleaved.
#pragma once

#include <algorithm>
#include <vector>

#include "column.h"
#include "plan.h"

namespace equinet {

// Largest numbers of functions, which are named by letters, and of outputs.
constexpr int MAX_FUNCTIONS = 52;
constexpr int MAX_OUTPUTS = 52;

// Degrees that are compiled in; other degrees use scratch memory in place of registers.
constexpr int COMPILED_LMAX = 8;

// The arrays of a plan, where the threads can read them.
template <class T>
struct PlanArrays {
  const Field* fields;
  const Term* terms;  // sorted by output
  const Output* outputs;
  const int* factors;
  const T* polar;
  const T* waves;
};

template <class T>
struct FormsColumnJob {
  Operand<void> functions[MAX_FUNCTIONS];
  void* results[MAX_OUTPUTS];  // contiguous [batch, (lmax + 1)^2, channels]
  PlanArrays<T> plan;
  int function_count;
  int field_count;
  int term_count;
  int output_count;
  int wave_stride;
  int ring_pairs;
  bool has_equator;
  int azimuths;
  int widest;  // highest degree of all fields and outputs
  ScalarType element;
  int64_t channels;
  int64_t columns;
};

// Values of a thread: every 32nd number, so that the threads of a warp read adjacent numbers.
template <class T>
struct Scratch {
  static constexpr int THREADS = 32;
  T* start;

  EQUINET_INLINE T& operator[](int i) const { return start[i * THREADS]; }
  EQUINET_INLINE Scratch operator+(int i) const { return {start + i * THREADS}; }
};

// Calls f with the degree as a constant expression if it is compiled in, otherwise with DYNAMIC.
template <int L = 0, class F>
EQUINET_INLINE void with_compiled_degree(int lmax, const F& f) {
  if constexpr (L > COMPILED_LMAX) f(Order<DYNAMIC>{});
  else if (lmax == L) f(Order<L>{});
  else with_compiled_degree<L + 1>(lmax, f);
}

// Fourier coefficients of a ring: in registers if the degree is compiled in.
template <int L, class T>
struct RingValues {
  T values[2 * L + 1] = {};

  EQUINET_INLINE RingValues(Scratch<T>, int) {}
  EQUINET_INLINE T* array() { return values; }
};

template <class T>
struct RingValues<DYNAMIC, T> {
  Scratch<T> values;

  EQUINET_INLINE RingValues(Scratch<T> memory, int lmax) : values(memory) {
    for (int i = 0; i < 2 * lmax + 1; ++i) values[i] = 0;
  }
  EQUINET_INLINE Scratch<T> array() { return values; }
};

template <class T>
class FormsColumn {
 public:
  EQUINET_INLINE FormsColumn(const FormsColumnJob<T>& job, T* scratch)
      : job_(job), count_(PARTS * job.azimuths), x_{scratch} {
    z_ = x_;
    for (int f = 0; f < job.function_count; ++f) z_ = z_ + components_of(job.functions[f].lmax);
    parts_ = z_;
    for (int o = 0; o < job.output_count; ++o) {
      parts_ = parts_ + components_of(job.plan.outputs[o].lmax);
    }
    rings_ = parts_ + 2 * count_ * job.field_count;
  }

  EQUINET_INLINE void run(int64_t index) const {
    const Column column(index, job_.channels);
    read(column);
    for (int pair = 0; pair < job_.ring_pairs; ++pair) {
      const bool is_equator = job_.has_equator && pair == job_.ring_pairs - 1;
      for (int f = 0; f < job_.field_count; ++f) synthesize(f, pair);
      int term = 0;
      Scratch<T> z = z_;
      for (int o = 0; o < job_.output_count; ++o) {
        term = collect(o, term, pair, is_equator, z);
        z = z + components_of(job_.plan.outputs[o].lmax);
      }
    }
    write(column);
  }

 private:
  EQUINET_INLINE void read(const Column& column) const {
    Scratch<T> x = x_;
    for (int i = 0; i < job_.function_count; ++i) {
      const Operand<void>& f = job_.functions[i];
      const int components = components_of(f.lmax);
      with_element<T>(job_.element, [&](auto type) EQUINET_LAMBDA_INLINE {
        using E = typename decltype(type)::Type;
        const E* const source = static_cast<const E*>(f.data) + column.batch * f.batch_stride +
                                column.channel * f.channel_stride;
        for (int k = 0; k < components; ++k) x[k] = static_cast<T>(source[k * f.component_stride]);
      });
      x = x + components;
    }
    for (Scratch<T> z = z_; z.start < parts_.start; z = z + 1) z[0] = 0;
  }

  EQUINET_INLINE void write(const Column& column) const {
    Scratch<T> z = z_;
    for (int o = 0; o < job_.output_count; ++o) {
      const int components = components_of(job_.plan.outputs[o].lmax);
      with_element<T>(job_.element, [&](auto type) EQUINET_LAMBDA_INLINE {
        using E = typename decltype(type)::Type;
        E* const target = static_cast<E*>(job_.results[o]) +
                          column.batch * components * job_.channels + column.channel;
        for (int k = 0; k < components; ++k) target[k * job_.channels] = static_cast<E>(z[k]);
      });
      z = z + components;
    }
  }

  // Parts of a field on both rings of a pair.
  EQUINET_INLINE void synthesize(int f, int pair) const {
    const Field field = job_.plan.fields[f];
    Scratch<T> x = x_;
    for (int i = 0; i < field.function; ++i) x = x + components_of(job_.functions[i].lmax);
    const T* const polar = job_.plan.polar + field.polar + pair * field.polar_stride;
    const Scratch<T> parts = parts_ + 2 * count_ * f;
    with_compiled_degree(field.lmax, [&](auto degree) EQUINET_LAMBDA_INLINE {
      constexpr int L = degree;
      RingValues<L, T> north(rings_, field.lmax), south(south_rings(), field.lmax);
      polar_synthesis<L>(field.lmax, x, polar, north.array(), south.array());
      make_slope<L>(field.lmax, field.quantity, north.array(), south.array());
      EQUINET_NO_UNROLL
      for (int j = 0; j < job_.azimuths; ++j) {
        const T* const waves = job_.plan.waves + j * job_.wave_stride;
        T values[2 * PARTS];
        azimuth_synthesis<L>(field.lmax, north.array(), waves, values);
        azimuth_synthesis<L>(field.lmax, south.array(), waves, values + PARTS);
        EQUINET_UNROLL
        for (int i = 0; i < 2 * PARTS; ++i) parts[2 * PARTS * j + i] = values[i];
      }
    });
  }

  // Adds the part of a pair of rings to an output, whose terms begin at `term`; returns their end.
  EQUINET_INLINE int collect(int o, int term, int pair, bool is_equator, Scratch<T> z) const {
    const Output output = job_.plan.outputs[o];
    int end = term;
    while (end < job_.term_count && job_.plan.terms[end].output == o) ++end;
    const T* const polar = job_.plan.polar + output.polar + pair * output.polar_stride;
    with_compiled_degree(output.lmax, [&](auto degree) EQUINET_LAMBDA_INLINE {
      constexpr int L = degree;
      RingValues<L, T> north(rings_, output.lmax), south(south_rings(), output.lmax);
      EQUINET_NO_UNROLL
      for (int j = 0; j < job_.azimuths; ++j) {
        const T* const waves = job_.plan.waves + j * job_.wave_stride;
        T sums[2 * PARTS] = {};
        for (int t = term; t < end; ++t) add_term(job_.plan.terms[t], j, sums);
        azimuth_analysis<L>(output.lmax, &sums[0], waves, north.array());
        if (!is_equator) {
          azimuth_analysis<L>(output.lmax, &sums[PARTS], waves, south.array());
        }
      }
      polar_analysis<L>(output.lmax, north.array(), south.array(), polar, z);
    });
    return end;
  }

  // Parts of one term at an azimuth of both rings.
  EQUINET_INLINE void add_term(const Term& term, int j, T* sums) const {
    T value[2 * PARTS];
    for (int k = 0; k < term.factor_count; ++k) {
      const int field = job_.plan.factors[term.first_factor + k];
      const Scratch<T> stored = parts_ + 2 * (count_ * field + PARTS * j);
      T factor[2 * PARTS], product[2 * PARTS];
      EQUINET_UNROLL
      for (int i = 0; i < 2 * PARTS; ++i) factor[i] = stored[i];
      if (k == 0) {
        EQUINET_UNROLL
        for (int i = 0; i < 2 * PARTS; ++i) product[i] = static_cast<T>(term.coefficient) * factor[i];
      } else {
        multiply_parts(value, factor, product);
        multiply_parts(value + PARTS, factor + PARTS, product + PARTS);
      }
      EQUINET_UNROLL
      for (int i = 0; i < 2 * PARTS; ++i) value[i] = product[i];
    }
    EQUINET_UNROLL
    for (int i = 0; i < 2 * PARTS; ++i) sums[i] += value[i];
  }

  EQUINET_INLINE Scratch<T> south_rings() const { return rings_ + (2 * job_.widest + 1); }

  const FormsColumnJob<T>& job_;
  int count_;           // number of parts of a ring
  Scratch<T> x_;        // coefficients of the functions
  Scratch<T> z_;        // coefficients of the outputs
  Scratch<T> parts_;  // 4 parts of the northern and 4 of the southern ring, for each field
  Scratch<T> rings_;    // Fourier coefficients of degrees that are not compiled in
};

// Returns a job that is complete except for results, element, channels and columns.
template <class T>
FormsColumnJob<T> job_of(const SpherePlan& plan, const PlanArrays<T>& arrays,
                         const std::vector<Operand<void>>& functions) {
  FormsColumnJob<T> job{};
  std::copy(functions.begin(), functions.end(), job.functions);
  job.plan = arrays;
  job.function_count = int(functions.size());
  job.field_count = int(plan.fields.size());
  job.term_count = int(plan.terms.size());
  job.output_count = int(plan.outputs.size());
  job.wave_stride = plan.wave_stride;
  job.ring_pairs = plan.ring_pairs;
  job.has_equator = plan.has_equator;
  job.azimuths = plan.azimuths;
  job.widest = plan.wave_stride / 2 - 1;
  return job;
}

// Returns the amount of scratch memory for a column.
template <class T>
int64_t scratch_size(const SpherePlan& plan, const FormsColumnJob<T>& job) {
  int64_t size = int64_t{2} * PARTS * job.azimuths * job.field_count;
  for (int f = 0; f < job.function_count; ++f) size += components_of(job.functions[f].lmax);
  for (const Output& output : plan.outputs) size += components_of(output.lmax);
  return job.widest > COMPILED_LMAX ? size + 2 * (2 * job.widest + 1) : size;
}

}  // namespace equinet
