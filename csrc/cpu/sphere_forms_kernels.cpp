// Forms on the sphere for one instruction set: a vector of channels at a time, all of it in cache.

#include "lanes.h"
#include "sphere_forms_kernels.h"

namespace equinet {
namespace EQUINET_ISA {

namespace {

template <class T>
using Vector = typename Lanes<T>::Vector;

constexpr int64_t square(int64_t a) { return a * a; }

// Calls f with the degree as a constant expression where it is compiled in, else with DYNAMIC.
template <class F>
EQUINET_INLINE void with_degree(int lmax, const F& f) {
  switch (lmax) {
    case 0: return f(Order<0>{});
    case 1: return f(Order<1>{});
    case 2: return f(Order<2>{});
    case 3: return f(Order<3>{});
    case 4: return f(Order<4>{});
    case 5: return f(Order<5>{});
    case 6: return f(Order<6>{});
    case 7: return f(Order<7>{});
    case 8: return f(Order<8>{});
    case 10: return f(Order<10>{});
    default: return f(Order<DYNAMIC>{});
  }
}

template <class T>
void to_rings(const Field& field, const T* polar, const Vector<T>* x, Vector<T>* rings) {
  with_degree(field.lmax, [&](auto degree) EQUINET_LAMBDA_INLINE {
    constexpr int L = degree;
    Vector<T>*north = rings, *south = rings + 2 * field.lmax + 1;
    polar_synthesis<L>(field.lmax, x, polar, north, south);
    make_slope<L>(field.lmax, field.quantity, north, south);
  });
}

template <class T>
void from_rings(int lmax, const T* polar, const Vector<T>* rings, Vector<T>* x) {
  with_degree(lmax, [&](auto degree) EQUINET_LAMBDA_INLINE {
    constexpr int L = degree;
    polar_analysis<L>(lmax, rings, rings + 2 * lmax + 1, polar, x);
  });
}

// Coefficients of a ring stay in registers while all its azimuths are served.
template <int L, class T>
struct RingCoefficients {
  Vector<T> values[2 * L + 1];
};
template <class T>
struct RingCoefficients<DYNAMIC, T> {};

template <class T>
void sample_ring(const FormsJob<T>& job, int lmax, const Vector<T>* a, Vector<T>* samples) {
  with_degree(lmax, [&](auto degree) EQUINET_LAMBDA_INLINE {
    constexpr int L = degree;
    const Vector<T>* coefficients = a;
    RingCoefficients<L, T> local;
    if constexpr (L != DYNAMIC) {
      EQUINET_UNROLL
      for (int i = 0; i < 2 * L + 1; ++i) local.values[i] = a[i];
      coefficients = local.values;
    }
    for (int j = 0; j < job.quadrant_samples; ++j) {
      const T* waves = job.waves + j * job.wave_stride;
      azimuth_synthesis<L>(lmax, coefficients, waves, samples + QUADRANTS * j);
    }
  });
}

template <class T>
void analyse_ring(const FormsJob<T>& job, int lmax, const Vector<T>* samples, Vector<T>* a) {
  with_degree(lmax, [&](auto degree) EQUINET_LAMBDA_INLINE {
    constexpr int L = degree;
    RingCoefficients<L, T> local;
    Vector<T>* coefficients = a;
    if constexpr (L != DYNAMIC) {
      EQUINET_UNROLL
      for (int i = 0; i < 2 * L + 1; ++i) local.values[i] = Vector<T>{};
      coefficients = local.values;
    } else {
      for (int i = 0; i < 2 * lmax + 1; ++i) a[i] = Vector<T>{};
    }
    for (int j = 0; j < job.quadrant_samples; ++j) {
      const T* waves = job.waves + j * job.wave_stride;
      azimuth_analysis<L>(lmax, samples + QUADRANTS * j, waves, coefficients);
    }
    if constexpr (L != DYNAMIC) {
      EQUINET_UNROLL
      for (int i = 0; i < 2 * L + 1; ++i) a[i] = local.values[i];
    }
  });
}

// Adds one term at all samples of a ring, or starts the sum with it.
template <class T>
void add_term(
    const Term& term, const Vector<T>* const* factors, int count, bool is_first, Vector<T>* sum) {
  const T coefficient = static_cast<T>(term.coefficient);
  const Vector<T>* first = factors[0];
  if (term.factor_count == 2 && is_first && coefficient == 1) {
    const Vector<T>* second = factors[1];
    for (int p = 0; p < count; ++p) sum[p] = first[p] * second[p];
    return;
  }
  for (int p = 0; p < count; ++p) {
    Vector<T> value = coefficient * first[p];
    for (int k = 1; k < term.factor_count; ++k) value *= factors[k][p];
    sum[p] = is_first ? value : sum[p] + value;
  }
}

// One vector of channels from coefficients to coefficients.
template <class T>
class Evaluation {
 public:
  Evaluation(const FormsJob<T>& job, Vector<T>* scratch) : job_(job), x_(scratch) {
    Vector<T>* next = scratch;
    for (int i = 0; i < job.function_count; ++i) next += square(job.functions[i].lmax + 1);
    z_ = next;
    for (int o = 0; o < job.output_count; ++o) next += square(job.outputs[o].lmax + 1);
    rings_ = next;
    for (int f = 0; f < job.field_count; ++f) next += 2 * (2 * job.fields[f].lmax + 1);
    result_rings_ = next;
    for (int o = 0; o < job.output_count; ++o) next += 2 * (2 * job.outputs[o].lmax + 1);
    samples_ = next;
    sums_ = next + int64_t{job.field_count} * QUADRANTS * job.quadrant_samples;
  }

  void run(int64_t first, int64_t count) {
    load(first, count);
    clear();
    for (int pair = 0; pair < job_.ring_pairs; ++pair) {
      const bool is_equator = job_.has_equator && pair == job_.ring_pairs - 1;
      synthesize(pair);
      multiply(0);
      if (is_equator) {
        silence_south();
      } else {
        multiply(1);
      }
      analyse(pair);
    }
    store(first, count);
  }

 private:
  void load(int64_t first, int64_t count) {
    Vector<T>* x = x_;
    for (int i = 0; i < job_.function_count; ++i) {
      const Operand<T>& f = job_.functions[i];
      const int64_t components = square(f.lmax + 1);
      load_lanes<T>(f.data, f.batch_stride, f.component_stride, f.channel_stride, job_.channels,
                    components, first, count, x);
      x += components;
    }
  }

  void clear() {
    for (Vector<T>* z = z_; z < rings_; ++z) *z = Vector<T>{};
  }

  void synthesize(int pair) {
    Vector<T>* rings = rings_;
    for (int f = 0; f < job_.field_count; ++f) {
      const Field& field = job_.fields[f];
      const Vector<T>* x = x_;
      for (int i = 0; i < field.function; ++i) x += square(job_.functions[i].lmax + 1);
      to_rings(field, job_.polar + field.polar + pair * field.polar_stride, x, rings);
      rings += 2 * (2 * field.lmax + 1);
    }
  }

  void multiply(int hemisphere) {
    const int count = QUADRANTS * job_.quadrant_samples;
    const Vector<T>* rings = rings_;
    for (int f = 0; f < job_.field_count; ++f) {
      const int lmax = job_.fields[f].lmax;
      sample_ring(job_, lmax, rings + hemisphere * (2 * lmax + 1), samples_ + f * count);
      rings += 2 * (2 * lmax + 1);
    }
    int started = -1;
    for (int t = 0; t < job_.term_count; ++t) {
      const Term& term = job_.terms[t];
      const Vector<T>* factors[MAX_FACTORS];
      for (int k = 0; k < term.factor_count; ++k) {
        factors[k] = samples_ + job_.factors[term.first_factor + k] * count;
      }
      add_term<T>(term, factors, count, term.output > started, sums_ + term.output * count);
      started = term.output;
    }
    Vector<T>* result = result_rings_;
    for (int o = 0; o < job_.output_count; ++o) {
      const int lmax = job_.outputs[o].lmax;
      analyse_ring(job_, lmax, sums_ + o * count, result + hemisphere * (2 * lmax + 1));
      result += 2 * (2 * lmax + 1);
    }
  }

  void silence_south() {
    Vector<T>* result = result_rings_;
    for (int o = 0; o < job_.output_count; ++o) {
      const int size = 2 * job_.outputs[o].lmax + 1;
      for (int i = size; i < 2 * size; ++i) result[i] = Vector<T>{};
      result += 2 * size;
    }
  }

  void analyse(int pair) {
    Vector<T>*rings = result_rings_, *z = z_;
    for (int o = 0; o < job_.output_count; ++o) {
      const Output& output = job_.outputs[o];
      from_rings(output.lmax, job_.polar + output.polar + pair * output.polar_stride, rings, z);
      rings += 2 * (2 * output.lmax + 1);
      z += square(output.lmax + 1);
    }
  }

  void store(int64_t first, int64_t count) {
    const Vector<T>* z = z_;
    for (int o = 0; o < job_.output_count; ++o) {
      const int64_t components = square(job_.outputs[o].lmax + 1);
      store_lanes<T>(z, job_.channels, components, first, count, job_.results[o]);
      z += components;
    }
  }

  const FormsJob<T>& job_;
  Vector<T>* x_;             // coefficients of the functions
  Vector<T>* z_;             // coefficients of the outputs
  Vector<T>* rings_;         // Fourier coefficients of the fields, north and south
  Vector<T>* result_rings_;  // of the outputs
  Vector<T>* samples_;       // of the fields on one ring
  Vector<T>* sums_;          // of the outputs
};

}  // namespace

template <class T>
void evaluate_forms(const FormsJob<T>& job, int64_t first, int64_t last, void* scratch) {
  Evaluation<T> evaluation(job, static_cast<Vector<T>*>(scratch));
  for (int64_t lane = first; lane < last; lane += Lanes<T>::COUNT) {
    const int64_t count = last - lane < Lanes<T>::COUNT ? last - lane : Lanes<T>::COUNT;
    evaluation.run(lane, count);
  }
}

template void evaluate_forms(const FormsJob<float>&, int64_t, int64_t, void*);
template void evaluate_forms(const FormsJob<double>&, int64_t, int64_t, void*);

}  // namespace EQUINET_ISA
}  // namespace equinet
