// Forms on the sphere for one instruction set: a vector of channels at a time, all of it in cache.

#include "../common/sparse_product.h"
#include "lanes.h"
#include "sphere_forms_kernels.h"

namespace equinet {
namespace EQUINET_ISA {

namespace {

template <class T>
using Vector = typename Lanes<T>::Vector;

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

// Operands and results of one vector of channels.
template <class T>
class Coefficients {
 public:
  Coefficients(const FormsJob<T>& job, Vector<T>* scratch) : job_(job), x_(scratch) {
    z_ = x_;
    for (int i = 0; i < job.function_count; ++i) z_ += components_of(job.functions[i].lmax);
    end_ = z_;
    for (int o = 0; o < job.output_count; ++o) end_ += components_of(job.outputs[o].lmax);
  }

  const Vector<T>* function(int index) const {
    const Vector<T>* x = x_;
    for (int i = 0; i < index; ++i) x += components_of(job_.functions[i].lmax);
    return x;
  }

  Vector<T>* output(int index) const {
    Vector<T>* z = z_;
    for (int o = 0; o < index; ++o) z += components_of(job_.outputs[o].lmax);
    return z;
  }

  Vector<T>* end() const { return end_; }

  // Reads `count` lanes from `first` on and sets the results to zero.
  void load(int64_t first, int64_t count) {
    Vector<T>* x = x_;
    for (int i = 0; i < job_.function_count; ++i) {
      const Operand<T>& f = job_.functions[i];
      load_lanes<T>(f.data, f.batch_stride, f.component_stride, f.channel_stride, job_.channels,
                    components_of(f.lmax), first, count, x);
      x += components_of(f.lmax);
    }
    for (Vector<T>* z = z_; z < end_; ++z) *z = Vector<T>{};
  }

  void store(int64_t first, int64_t count) const {
    for (int o = 0; o < job_.output_count; ++o) {
      store_lanes<T>(output(o), job_.channels, components_of(job_.outputs[o].lmax), first, count,
                     job_.results[o]);
    }
  }

 private:
  const FormsJob<T>& job_;
  Vector<T>* x_;
  Vector<T>* z_;
  Vector<T>* end_;
};

// One vector of channels from coefficients to coefficients by way of samples, ring by ring.
template <class T>
class Evaluation {
 public:
  Evaluation(const FormsJob<T>& job, Vector<T>* scratch)
      : job_(job), coefficients_(job, scratch), count_(QUADRANTS * job.quadrant_samples) {
    rings_ = coefficients_.end();
    result_rings_ = rings_;
    for (int f = 0; f < job.field_count; ++f) result_rings_ += rings_size(job.fields[f].lmax);
    sums_ = result_rings_;
    for (int o = 0; o < job.output_count; ++o) sums_ += rings_size(job.outputs[o].lmax);
    samples_ = sums_ + int64_t{job.output_count} * count_;
  }

  void run(int64_t first, int64_t count) {
    coefficients_.load(first, count);
    const int64_t batch = first / job_.channels;
    const bool is_one_batch = batch == (first + count - 1) / job_.channels;
    has_shared_samples_ = is_one_batch && batch == sampled_batch_;
    sampled_batch_ = is_one_batch ? batch : -1;
    for (int pair = 0; pair < job_.ring_pairs; ++pair) {
      const bool is_equator = job_.has_equator && pair == job_.ring_pairs - 1;
      synthesize(pair);
      multiply(pair, 0);
      if (is_equator) {
        silence_south();
      } else {
        multiply(pair, 1);
      }
      analyse(pair);
    }
    coefficients_.store(first, count);
  }

 private:
  static int rings_size(int lmax) { return 2 * (2 * lmax + 1); }

  bool is_sampled(const Field& field) const {
    return has_shared_samples_ && is_shared(job_.functions[field.function]);
  }

  void synthesize(int pair) {
    Vector<T>* rings = rings_;
    for (int f = 0; f < job_.field_count; ++f) {
      const Field& field = job_.fields[f];
      if (!is_sampled(field)) {
        const T* polar = job_.polar + field.polar + pair * field.polar_stride;
        to_rings(field, polar, coefficients_.function(field.function), rings);
      }
      rings += rings_size(field.lmax);
    }
  }

  void multiply(int pair, int hemisphere) {
    const Vector<T>* of_field[MAX_FIELDS];
    Vector<T>* samples = samples_;
    const Vector<T>* rings = rings_;
    for (int f = 0; f < job_.field_count; ++f) {
      const Field& field = job_.fields[f];
      const bool is_kept = is_shared(job_.functions[field.function]);
      Vector<T>* target = samples + (is_kept ? (2 * pair + hemisphere) * count_ : 0);
      if (!is_sampled(field)) {
        sample_ring(job_, field.lmax, rings + hemisphere * (2 * field.lmax + 1), target);
      }
      of_field[f] = target;
      samples += samples_of(job_, field);
      rings += rings_size(field.lmax);
    }
    int started = -1;
    for (int t = 0; t < job_.term_count; ++t) {
      const Term& term = job_.terms[t];
      const Vector<T>* factors[MAX_FACTORS];
      for (int k = 0; k < term.factor_count; ++k) {
        factors[k] = of_field[job_.factors[term.first_factor + k]];
      }
      add_term<T>(term, factors, count_, term.output > started, sums_ + term.output * count_);
      started = term.output;
    }
    Vector<T>* result = result_rings_;
    for (int o = 0; o < job_.output_count; ++o) {
      const int lmax = job_.outputs[o].lmax;
      analyse_ring(job_, lmax, sums_ + o * count_, result + hemisphere * (2 * lmax + 1));
      result += rings_size(lmax);
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
    Vector<T>* rings = result_rings_;
    for (int o = 0; o < job_.output_count; ++o) {
      const Output& output = job_.outputs[o];
      const T* polar = job_.polar + output.polar + pair * output.polar_stride;
      from_rings(output.lmax, polar, rings, coefficients_.output(o));
      rings += rings_size(output.lmax);
    }
  }

  const FormsJob<T>& job_;
  Coefficients<T> coefficients_;
  int count_;                // samples of a ring
  Vector<T>* rings_;         // Fourier coefficients of the fields, north and south
  Vector<T>* result_rings_;  // of the outputs
  Vector<T>* sums_;          // samples of the outputs
  Vector<T>* samples_;       // samples of the fields
  int64_t sampled_batch_ = -1;
  bool has_shared_samples_ = false;
};

template <class T>
using SparseProduct = void (*)(const Vector<T>* x, const Vector<T>* y, T coefficient, Vector<T>* z);

template <class T, bool IS_BRACKET, int L1, int L2, int L3>
void add_sparse_product(
    const Vector<T>* x, const Vector<T>* y, T coefficient, Vector<T>* z) {
  sparse_product<IS_BRACKET, L1, L2, L3, T>(x, y, coefficient, z);
}

// Finds the unrolled function of a kind and three degrees.
template <class T, bool IS_BRACKET, int CODE = 0>
SparseProduct<T> find_sparse_product(int code) {
  constexpr int N = COUPLINGS_LMAX + 1;
  if constexpr (CODE == N * N * N) {
    return nullptr;
  } else {
    constexpr int L1 = CODE / (N * N), L2 = CODE / N % N, L3 = CODE % N;
    if constexpr (has_sparse_product(L1, L2, L3)) {
      if (code == CODE) return add_sparse_product<T, IS_BRACKET, L1, L2, L3>;
    }
    return find_sparse_product<T, IS_BRACKET, CODE + 1>(code);
  }
}

template <class T>
SparseProduct<T> find_sparse_product(const FormsJob<T>& job, const SparseTerm& term) {
  constexpr int N = COUPLINGS_LMAX + 1;
  const int code = (job.functions[term.first].lmax * N + job.functions[term.second].lmax) * N +
                   job.outputs[term.output].lmax;
  return term.is_bracket ? find_sparse_product<T, true>(code) : find_sparse_product<T, false>(code);
}

template <class T>
void evaluate_sparse(const FormsJob<T>& job, int64_t first, int64_t last, Vector<T>* scratch) {
  Coefficients<T> coefficients(job, scratch);
  SparseProduct<T> products[MAX_SPARSE_TERMS];
  for (int t = 0; t < job.sparse_term_count; ++t) {
    products[t] = find_sparse_product(job, job.sparse_terms[t]);
  }
  for (int64_t lane = first; lane < last; lane += Lanes<T>::COUNT) {
    const int64_t count = last - lane < Lanes<T>::COUNT ? last - lane : Lanes<T>::COUNT;
    coefficients.load(lane, count);
    for (int t = 0; t < job.sparse_term_count; ++t) {
      const SparseTerm& term = job.sparse_terms[t];
      products[t](coefficients.function(term.first), coefficients.function(term.second),
                  static_cast<T>(term.coefficient), coefficients.output(term.output));
    }
    coefficients.store(lane, count);
  }
}

}  // namespace

template <class T>
void evaluate_forms(const FormsJob<T>& job, int64_t first, int64_t last, void* scratch) {
  if (job.sparse_term_count > 0) {
    evaluate_sparse(job, first, last, static_cast<Vector<T>*>(scratch));
    return;
  }
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
