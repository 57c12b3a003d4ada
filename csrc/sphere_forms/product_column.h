// Computes the product of two functions, or their bracket, for one column and for degrees that are
// known to the compiler. It is the work of one thread of a CUDA kernel.
//
// For low degrees, coefficients are multiplied in registers. For higher degrees, values are
// computed on one pair of rings at a time, with Fourier coefficients and sums in registers. The
// operands lie in shared memory, where each thread uses its own part, so that no barrier is needed.
#pragma once

#include "column.h"
#include "plan.h"
#include "sparse_product.h"

namespace equinet {

// One launch: coefficient * first * second, written to a result or added to it.
struct ProductJob {
  Operand<void> first;
  Operand<void> second;
  void* result;  // contiguous [batch, (lmax + 1)^2, channels]
  ScalarType element;
  double coefficient;
  bool adds;
  int64_t channels;
  int64_t columns;
};

// Degrees that are compiled with every coupling unrolled: those of the CPU, except for one kernel
// that would need too many registers.
template <bool IS_BRACKET, class T>
constexpr bool has_sparse_kernel(int l1, int l2, int l3) {
  return has_sparse_product(l1, l2, l3) && !(IS_BRACKET && l3 == 4 && sizeof(T) == 8);
}

template <bool IS_BRACKET, int L1, int L2, int L3, class T>
EQUINET_INLINE void sparse_column(const ProductJob& job, int64_t index) {
  const Column column(index, job.channels);
  T x[components_of(L1)], y[components_of(L2)], z[components_of(L3)];
  with_element<T>(job.element, [&](auto type) EQUINET_LAMBDA_INLINE {
    using E = typename decltype(type)::Type;
    read_column<L1, T, E>(job.first, column, &x[0]);
    read_column<L2, T, E>(job.second, column, &y[0]);
  });
  sparse_product<IS_BRACKET, L1, L2, L3, T>(x, y, z);
  const T coefficient = static_cast<T>(job.coefficient);
  write_column<L3, T>(&z[0], coefficient, job.result, job.element, job.adds, column, job.channels);
}

// Degrees that are compiled with values on rings: those of a layer of one degree, and those of the
// whole product of two functions of one degree with its derivatives. Registers are sufficient for
// float64 up to degree 6 only.
template <class T>
constexpr bool has_sampled_product(int l1, int l2, int l3) {
  constexpr int HIGHEST = sizeof(T) == 8 ? 6 : 8;
  if (l1 == l2 && l2 == l3) return l1 > 4 && l1 <= HIGHEST;
  const bool is_whole = l1 == l2 && l3 == 2 * l2, is_derivative = l1 == 2 * l2 && l2 == l3;
  return (is_whole || is_derivative) && l2 > 1 && 2 * l2 <= HIGHEST;
}

// Tables of such a product. They are passed as a parameter of the kernel, in constant memory.
template <int L1, int L2, int L3, class T>
struct ProductTables {
  static constexpr int DEGREE = L1 + L2 + L3;
  static constexpr int RINGS = DEGREE / 2 + 1;
  static constexpr int PAIRS = (RINGS + 1) / 2;
  static constexpr int AZIMUTHS = DEGREE / 4 + 1;
  static constexpr int WIDEST = L1 > L3 ? L1 : L3;
  static constexpr bool HAS_ONE_DEGREE = L1 == L2;

  static constexpr int factors_of(int lmax) { return (lmax + 1) * (lmax + 2) / 2; }
  // Rows are padded so that several factors can be loaded at once.
  static constexpr int row_of(int lmax) { return (factors_of(lmax) + 3) / 4 * 4; }

  alignas(16) T first[PAIRS][row_of(L1)];
  alignas(16) T second[HAS_ONE_DEGREE ? 1 : PAIRS][row_of(L2)];
  alignas(16) T result[PAIRS][row_of(L3)];
  alignas(16) T waves[AZIMUTHS][2 * (WIDEST + 1)];

  EQUINET_INLINE const T* second_of(int pair) const {
    if constexpr (HAS_ONE_DEGREE) return first[pair];
    else return second[pair];
  }

  static ProductTables make() {
    const SpherePlan plan = SpherePlanner("ab", {L1, L2}, {L3}).make_sampled();
    ProductTables tables{};
    for (int pair = 0; pair < PAIRS; ++pair) {
      copy(plan, plan.fields[0].polar, L1, pair, tables.first[pair]);
      if (!HAS_ONE_DEGREE) copy(plan, plan.fields[1].polar, L2, pair, tables.second[pair]);
      copy(plan, plan.outputs[0].polar, L3, pair, tables.result[pair]);
    }
    for (int j = 0; j < AZIMUTHS; ++j) {
      for (int i = 0; i < plan.wave_stride; ++i) {
        tables.waves[j][i] = static_cast<T>(plan.waves[j * plan.wave_stride + i]);
      }
    }
    return tables;
  }

 private:
  static void copy(const SpherePlan& plan, int64_t polar, int lmax, int pair, T* row) {
    const double* factors = plan.polar.data() + polar + pair * factors_of(lmax);
    for (int i = 0; i < factors_of(lmax); ++i) row[i] = static_cast<T>(factors[i]);
  }
};

// Values of a thread in shared memory, in units of 16 bytes, so that four numbers are read at once
// and no two threads use the same bank.
template <class T, int THREADS>
struct SharedValues {
  static constexpr int GROUP = 16 / sizeof(T);
  T* start;

  // Amount of shared memory for a function of this degree, for all threads together.
  EQUINET_INLINE static constexpr int size(int lmax) {
    return (components_of(lmax) + GROUP - 1) / GROUP * GROUP * THREADS;
  }

  EQUINET_INLINE SharedValues(T* memory, int thread) : start(memory + thread * GROUP) {}

  EQUINET_INLINE T& operator[](int i) const {
    return start[i / GROUP * (GROUP * THREADS) + i % GROUP];
  }
};

// Layout of the work of a block on a product with values on rings. In float64 the sums do not fit
// into registers and lie in shared memory too.
template <int L1, int L2, int L3, class T>
struct SampledProduct {
  static constexpr bool SUMS_ARE_SHARED = sizeof(T) == 8;
  static constexpr int THREADS = sizeof(T) == 8 ? 32 : 64;
  using Tables = ProductTables<L1, L2, L3, T>;
  using Shared = SharedValues<T, THREADS>;

  // Amount of shared memory for all threads together, below the 48 KB that every device has.
  static constexpr int SHARED_SIZE =
      Shared::size(L1) + Shared::size(L2) + (SUMS_ARE_SHARED ? Shared::size(L3) : 0);
  static_assert(SHARED_SIZE * sizeof(T) <= 48 * 1024, "too much shared memory");

  // Threads beyond the last column repeat the work of that column without writing, so that all
  // threads of a warp stay together and read each table once.
  EQUINET_INLINE static void run(
      const ProductJob& job, const Tables& tables, int64_t index, int thread, T* shared) {
    const bool is_inside = index < job.columns;
    const Column column(is_inside ? index : job.columns - 1, job.channels);
    const Shared x(shared, thread), y(shared + Shared::size(L1), thread);
    with_element<T>(job.element, [&](auto type) EQUINET_LAMBDA_INLINE {
      using E = typename decltype(type)::Type;
      read_column<L1, T, E>(job.first, column, x);
      read_column<L2, T, E>(job.second, column, y);
    });
    if constexpr (SUMS_ARE_SHARED) {
      const Shared z(shared + Shared::size(L1) + Shared::size(L2), thread);
      EQUINET_UNROLL
      for (int i = 0; i < components_of(L3); ++i) z[i] = 0;
      add_rings(tables, x, y, z);
      if (is_inside) write(job, column, z);
    } else {
      T z[components_of(L3)] = {};
      add_rings(tables, x, y, &z[0]);
      if (is_inside) write(job, column, &z[0]);
    }
  }

 private:
  template <class Z>
  EQUINET_INLINE static void add_rings(const Tables& tables, Shared x, Shared y, Z z) {
    constexpr int LAST = Tables::PAIRS - 1;
    EQUINET_NO_UNROLL
    for (int pair = 0; pair < Tables::PAIRS; ++pair) {
      // Otherwise the compiler reads the operands before the loop and runs out of registers.
      EQUINET_FORGET_MEMORY;
      T x_north[2 * L1 + 1], x_south[2 * L1 + 1], y_north[2 * L2 + 1], y_south[2 * L2 + 1];
      T z_north[2 * L3 + 1] = {}, z_south[2 * L3 + 1] = {};
      polar_synthesis<L1>(L1, x, tables.first[pair], &x_north[0], &x_south[0]);
      polar_synthesis<L2>(L2, y, tables.second_of(pair), &y_north[0], &y_south[0]);
      multiply_ring(tables, x_north, y_north, z_north);
      // The last of an odd number of rings is the equator.
      if (Tables::RINGS % 2 == 0 || pair < LAST) multiply_ring(tables, x_south, y_south, z_south);
      polar_analysis<L3>(L3, &z_north[0], &z_south[0], tables.result[pair], z);
    }
  }

  EQUINET_INLINE static void multiply_ring(const Tables& tables, const T* x, const T* y, T* z) {
    EQUINET_UNROLL
    for (int j = 0; j < Tables::AZIMUTHS; ++j) {
      T x_parts[PARTS], y_parts[PARTS], parts[PARTS];
      azimuth_synthesis<L1>(L1, x, tables.waves[j], x_parts);
      azimuth_synthesis<L2>(L2, y, tables.waves[j], y_parts);
      multiply_parts(x_parts, y_parts, parts);
      azimuth_analysis<L3>(L3, parts, tables.waves[j], z);
    }
  }

  template <class Z>
  EQUINET_INLINE static void write(const ProductJob& job, const Column& column, Z z) {
    const T coefficient = static_cast<T>(job.coefficient);
    write_column<L3, T>(z, coefficient, job.result, job.element, job.adds, column, job.channels);
  }
};

}  // namespace equinet
