// Forms on the sphere for one instruction set: a vector of channels at a time, all of it in cache.

#include "cpu_kernels.h"
#include "cpu_columns.h"
#include "sparse_product.h"

namespace equinet {
namespace EQUINET_ISA {

namespace {

// Calls f with the degree as a constant expression if it is compiled in, otherwise with DYNAMIC.
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

// Coefficients of a ring stay in registers for all azimuths of the ring.
template <int L, class T>
struct RingCoefficients {
  Vector<T> values[2 * L + 1];
};
template <class T>
struct RingCoefficients<DYNAMIC, T> {};

template <class T>
void synthesize_ring(const FormsJob<T>& job, int lmax, const Vector<T>* a, Vector<T>* parts) {
  with_degree(lmax, [&](auto degree) EQUINET_LAMBDA_INLINE {
    constexpr int L = degree;
    const Vector<T>* coefficients = a;
    RingCoefficients<L, T> local;
    if constexpr (L != DYNAMIC) {
      EQUINET_UNROLL
      for (int i = 0; i < 2 * L + 1; ++i) local.values[i] = a[i];
      coefficients = local.values;
    }
    for (int j = 0; j < job.azimuths; ++j) {
      azimuth_synthesis<L>(lmax, coefficients, job.waves + j * job.wave_stride, parts + PARTS * j);
    }
  });
}

// `parts_at` writes the parts of the analysed function at an azimuth.
template <class T, class F>
void analyse_ring(const FormsJob<T>& job, int lmax, const F& parts_at, Vector<T>* a) {
  with_degree(lmax, [&](auto degree) EQUINET_LAMBDA_INLINE {
    constexpr int L = degree;
    RingCoefficients<L, T> local;
    Vector<T>* coefficients = a;
    if constexpr (L != DYNAMIC) coefficients = local.values;
    const int size = L == DYNAMIC ? 2 * lmax + 1 : 2 * L + 1;
    EQUINET_UNROLL
    for (int i = 0; i < size; ++i) coefficients[i] = Vector<T>{};
    for (int j = 0; j < job.azimuths; ++j) {
      Vector<T> parts[PARTS];
      parts_at(j, parts);
      azimuth_analysis<L>(lmax, parts, job.waves + j * job.wave_stride, coefficients);
    }
    if constexpr (L != DYNAMIC) {
      EQUINET_UNROLL
      for (int i = 0; i < 2 * L + 1; ++i) a[i] = local.values[i];
    }
  });
}

// Adds the parts of a term, whose factors are given by their parts.
template <class T>
EQUINET_INLINE void add_term(const Term& term, const Vector<T>* const* factors, Vector<T>* sum) {
  Vector<T> value[PARTS];
  for (int i = 0; i < PARTS; ++i) value[i] = static_cast<T>(term.coefficient) * factors[0][i];
  for (int k = 1; k < term.factor_count; ++k) {
    Vector<T> product[PARTS];
    multiply_parts(value, factors[k], product);
    for (int i = 0; i < PARTS; ++i) value[i] = product[i];
  }
  for (int i = 0; i < PARTS; ++i) sum[i] += value[i];
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

  // Sets the outputs to zero.
  void clear() const {
    for (Vector<T>* z = z_; z < end_; ++z) *z = Vector<T>{};
  }

  // Calls compute(first, count), which writes the outputs, for all vectors of columns.
  //
  // The next operands are read before results are written. An operand and a result often have the
  // same lower twelve bits of their addresses, and processors that compare only these let the load
  // wait for the store before it.
  template <class F>
  void for_each_vector(int64_t first, int64_t last, const F& compute) {
    const auto count_at = [&](int64_t column) {
      return last - column < NATIVE_WIDTH<T> ? last - column : NATIVE_WIDTH<T>;
    };
    if (first < last) load(first, count_at(first));
    for (int64_t column = first; column < last; column += NATIVE_WIDTH<T>) {
      compute(column, count_at(column));
      const int64_t next = column + NATIVE_WIDTH<T>;
      if (next < last) load(next, count_at(next));
      store(column, count_at(column));
    }
  }

 private:
  void load(int64_t first, int64_t count) {
    Vector<T>* x = x_;
    for (int i = 0; i < job_.function_count; ++i) {
      const Operand<T>& f = job_.functions[i];
      load_columns<T>(f.data, f.batch_stride, f.component_stride, f.channel_stride, job_.channels,
                      components_of(f.lmax), first, count, x);
      x += components_of(f.lmax);
    }
  }

  void store(int64_t first, int64_t count) const {
    for (int o = 0; o < job_.output_count; ++o) {
      store_columns<T>(output(o), job_.channels, components_of(job_.outputs[o].lmax), first, count,
                       job_.results[o]);
    }
  }

  const FormsJob<T>& job_;
  Vector<T>* x_;
  Vector<T>* z_;
  Vector<T>* end_;
};

// One vector of channels from coefficients to coefficients by way of values, ring by ring.
template <class T>
class Evaluation {
 public:
  Evaluation(const FormsJob<T>& job, Vector<T>* scratch)
      : job_(job), coefficients_(job, scratch) {
    rings_ = coefficients_.end();
    result_rings_ = rings_;
    for (int f = 0; f < job.field_count; ++f) result_rings_ += rings_size(job.fields[f].lmax);
    parts_ = result_rings_;
    for (int o = 0; o < job.output_count; ++o) parts_ += rings_size(job.outputs[o].lmax);
  }

  void run(int64_t first, int64_t last) {
    coefficients_.for_each_vector(first, last, [&](int64_t column, int64_t count) {
      evaluate(column, count);
    });
  }

 private:
  void evaluate(int64_t first, int64_t count) {
    const int64_t batch = first / job_.channels;
    const bool is_one_batch = batch == (first + count - 1) / job_.channels;
    has_shared_parts_ = is_one_batch && batch == shared_batch_;
    shared_batch_ = is_one_batch ? batch : -1;
    coefficients_.clear();
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
  }

  static int rings_size(int lmax) { return 2 * (2 * lmax + 1); }

  // Whether the parts of a field are known from an earlier vector of channels.
  bool is_known(const Field& field) const {
    return has_shared_parts_ && is_shared(job_.functions[field.function]);
  }

  void synthesize(int pair) {
    Vector<T>* rings = rings_;
    for (int f = 0; f < job_.field_count; ++f) {
      const Field& field = job_.fields[f];
      if (!is_known(field)) {
        const T* polar = job_.polar + field.polar + pair * field.polar_stride;
        to_rings(field, polar, coefficients_.function(field.function), rings);
      }
      rings += rings_size(field.lmax);
    }
  }

  void multiply(int pair, int hemisphere) {
    const int count = PARTS * job_.azimuths;
    const Vector<T>* of_field[MAX_FIELDS];
    Vector<T>* parts = parts_;
    const Vector<T>* rings = rings_;
    for (int f = 0; f < job_.field_count; ++f) {
      const Field& field = job_.fields[f];
      const bool is_kept = is_shared(job_.functions[field.function]);
      Vector<T>* target = parts + (is_kept ? (2 * pair + hemisphere) * count : 0);
      if (!is_known(field)) {
        synthesize_ring(job_, field.lmax, rings + hemisphere * (2 * field.lmax + 1), target);
      }
      of_field[f] = target;
      parts += parts_of(job_, field);
      rings += rings_size(field.lmax);
    }
    const Term* term = job_.terms;
    Vector<T>* result = result_rings_;
    for (int o = 0; o < job_.output_count; ++o) {
      const Term* end = term;
      while (end < job_.terms + job_.term_count && end->output == o) ++end;
      const int lmax = job_.outputs[o].lmax;
      collect(lmax, term, end, of_field, result + hemisphere * (2 * lmax + 1));
      result += rings_size(lmax);
      term = end;
    }
  }

  // Fourier coefficients of a sum of terms.
  void collect(int lmax, const Term* first, const Term* end, const Vector<T>* const* of_field,
               Vector<T>* result) const {
    const int* factors = job_.factors + first->first_factor;
    if (end - first == 1 && first->factor_count == 2 && first->coefficient == 1) {
      const Vector<T>*x = of_field[factors[0]], *y = of_field[factors[1]];
      analyse_ring(job_, lmax, [&](int j, Vector<T>* parts) EQUINET_LAMBDA_INLINE {
        multiply_parts(x + PARTS * j, y + PARTS * j, parts);
      }, result);
      return;
    }
    analyse_ring(job_, lmax, [&](int j, Vector<T>* parts) EQUINET_LAMBDA_INLINE {
      for (int i = 0; i < PARTS; ++i) parts[i] = Vector<T>{};
      for (const Term* term = first; term < end; ++term) {
        const Vector<T>* values[MAX_FACTORS];
        for (int k = 0; k < term->factor_count; ++k) {
          values[k] = of_field[job_.factors[term->first_factor + k]] + PARTS * j;
        }
        add_term<T>(*term, values, parts);
      }
    }, result);
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
  Vector<T>* rings_;         // Fourier coefficients of the fields, north and south
  Vector<T>* result_rings_;  // of the outputs
  Vector<T>* parts_;         // of the fields at the azimuths of a ring
  int64_t shared_batch_ = -1;
  bool has_shared_parts_ = false;
};

template <class T>
using SparseProduct = void (*)(
    const Vector<T>* x, const Vector<T>* y, T coefficient, bool adds, Vector<T>* z);

template <class T, bool IS_BRACKET, int L1, int L2, int L3>
void write_sparse_product(
    const Vector<T>* x, const Vector<T>* y, T coefficient, bool adds, Vector<T>* z) {
  constexpr int COUNT = int(components_of(L3));
  Vector<T> product[COUNT];
  sparse_product<IS_BRACKET, L1, L2, L3, T>(x, y, product);
  if (adds) {
    for (int k = 0; k < COUNT; ++k) z[k] += coefficient * product[k];
  } else {
    for (int k = 0; k < COUNT; ++k) z[k] = coefficient * product[k];
  }
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
      if (code == CODE) return write_sparse_product<T, IS_BRACKET, L1, L2, L3>;
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
  coefficients.for_each_vector(first, last, [&](int64_t, int64_t) {
    int written = -1;  // terms are sorted by output
    for (int t = 0; t < job.sparse_term_count; ++t) {
      const SparseTerm& term = job.sparse_terms[t];
      products[t](coefficients.function(term.first), coefficients.function(term.second),
                  static_cast<T>(term.coefficient), term.output == written,
                  coefficients.output(term.output));
      written = term.output;
    }
  });
}

}  // namespace

template <class T>
void evaluate_forms(const FormsJob<T>& job, int64_t first, int64_t last, void* scratch) {
  if (job.sparse_term_count > 0) {
    evaluate_sparse(job, first, last, static_cast<Vector<T>*>(scratch));
    return;
  }
  Evaluation<T>(job, static_cast<Vector<T>*>(scratch)).run(first, last);
}

template void evaluate_forms(const FormsJob<float>&, int64_t, int64_t, void*);
template void evaluate_forms(const FormsJob<double>&, int64_t, int64_t, void*);

}  // namespace EQUINET_ISA
}  // namespace equinet
