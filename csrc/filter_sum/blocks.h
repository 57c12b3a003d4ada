// Work of the threads of a block for the convolution on CUDA: gather, filter and sum, and the
// derivatives by the filter.
//
// A thread owns one channel at some points, so that neighboring threads read neighboring channels,
// and threads communicate through shared memory only. The code between two barriers of a block is
// one function, which every thread calls; the CPU tests call it in a loop over threads. Sums have a
// fixed order, so results are the same on every run.
#pragma once

#include "form.h"

namespace equinet {

// A block has PAIR_GROUPS warps of LANES threads: each warp has PAIRS pairs of points, and each
// lane of a warp has one channel.
constexpr int LANES = 32;
constexpr int PAIR_GROUPS = 4;
constexpr int PAIRS = 5;
constexpr int BLOCK_PAIRS = PAIR_GROUPS * PAIRS;
constexpr int FILTER_THREADS = LANES * PAIR_GROUPS;
// Number of edges whose kernels a block computes at once.
constexpr int EDGES_AT_ONCE = 8;
// Number of terms that a block correlates at once.
constexpr int CORRELATED_TERMS = 4;

template <class T>
struct GridSumJob {
  const T* harmonics[MAX_FILTERS];  // Y [E, degrees^2]
  const T* radial[MAX_FILTERS];     // r [E, degrees, channels]
  const T* table;                   // H [half, degrees^2], or null: points are components
  int filters;
  TermBlock terms;                  // used with a table only
  int half, degrees, channels;
  const T* samples;                 // u [sources, points, channels]
  T* sums;                          // [targets, points, channels]
  bool adds;                        // whether `sums` are added to, instead of replaced
  const int64_t* starts;            // [targets + 1], where a target's edges begin in `edges`
  const int64_t* edges;             // [E], sorted by target
  const int64_t* sources;           // [E], in the order of Y and r
};

template <class T>
struct GridCorrelationJob {
  const T* harmonics;               // Y, or null
  const T* radial;                  // r, or null
  const T* table;
  TermBlock terms;
  int half, degrees, channels;
  const T *u, *v;                   // [sources, points, channels], [targets, points, channels]
  const int64_t *sources, *targets;
  T* by_harmonics;                  // result if r is given
  T* by_radial;                     // result if Y is given
};

// Returns the kernel k[t] at the first point of a pair.
template <class T>
EQUINET_INLINE T kernel_at(const T* harmonics, const T* table, int degrees, int degree,
                           int64_t pair) {
  const T* y = harmonics + degree * degree;
  const T* h = table + pair * degrees * degrees + degree * degree;
  T sum = 0;
  for (int m = 0; m < 2 * degree + 1; ++m) sum += y[m] * h[m];
  return sum;
}

// Block of threads for a target, a tile of channels and a tile of pairs.
template <int EVEN, int ODD, class T>
struct GridSumBlock {
  static constexpr int TERMS = EVEN + ODD;
  struct Shared {
    T k[EDGES_AT_ONCE][BLOCK_PAIRS][TERMS];
  };
  struct Thread {
    T near[PAIRS], far[PAIRS];
  };

  const GridSumJob<T>& job;
  int64_t target;
  int first_channel, first_pair;

  EQUINET_INLINE int channel(int thread) const { return first_channel + thread % LANES; }
  EQUINET_INLINE int pair(int thread, int i) const {
    return first_pair + thread / LANES + i * PAIR_GROUPS;
  }

  EQUINET_INLINE void start(Thread& own) const {
    EQUINET_UNROLL
    for (int i = 0; i < PAIRS; ++i) own.near[i] = own.far[i] = 0;
  }

  // Computes the kernels of the edges begin <= i < end. A barrier before it is needed if other
  // threads still read the kernels of earlier edges.
  EQUINET_INLINE void make_kernels(int thread, int64_t begin, int64_t end, Shared& shared) const {
    const int count = int(end - begin) * BLOCK_PAIRS * TERMS;
    for (int i = thread; i < count; i += FILTER_THREADS) {
      const int t = i % TERMS, pair = i / TERMS % BLOCK_PAIRS, edge = i / (TERMS * BLOCK_PAIRS);
      const int64_t e = job.edges[begin + edge], components = job.degrees * job.degrees;
      const int degree = job.terms.degree[t];
      shared.k[edge][pair][t] =
          first_pair + pair < job.half
              ? kernel_at(job.harmonics[job.terms.filter[t]] + e * components, job.table,
                          job.degrees, degree, first_pair + pair)
              : T{0};
    }
  }

  // Adds the edges begin <= i < end to the sums. A barrier before it is needed.
  EQUINET_INLINE void add(int thread, int64_t begin, int64_t end, const Shared& shared,
                          Thread& own) const {
    const int c = channel(thread);
    if (c >= job.channels) return;
    const int64_t channels = job.channels, opposite = job.half * channels;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t e = job.edges[i];
      const T* u = job.samples + job.sources[e] * 2 * opposite + c;
      T r[TERMS];
      EQUINET_UNROLL
      for (int t = 0; t < TERMS; ++t) {
        const int64_t row = e * job.degrees + job.terms.degree[t];
        r[t] = job.radial[job.terms.filter[t]][row * channels + c];
      }
      EQUINET_UNROLL
      for (int j = 0; j < PAIRS; ++j) {
        const int p = pair(thread, j);
        if (p >= job.half) continue;
        const T near = u[p * channels], far = u[p * channels + opposite];
        add_filtered<EVEN, ODD>(shared.k[i - begin][p - first_pair], 1, r, near, far, own.near[j],
                                own.far[j]);
      }
    }
  }

  EQUINET_INLINE void finish(int thread, const Thread& own) const {
    const int c = channel(thread);
    if (c >= job.channels) return;
    const int64_t opposite = int64_t{job.half} * job.channels;
    T* sums = job.sums + target * 2 * opposite + c;
    EQUINET_UNROLL
    for (int j = 0; j < PAIRS; ++j) {
      const int p = pair(thread, j);
      if (p >= job.half) continue;
      T &near = sums[int64_t{p} * job.channels], &far = sums[int64_t{p} * job.channels + opposite];
      near = job.adds ? near + own.near[j] : own.near[j];
      far = job.adds ? far + own.far[j] : own.far[j];
    }
  }
};

// Block of threads for an edge and a tile of pairs. It adds to the results of earlier tiles.
template <int EVEN, int ODD, class T>
struct GridCorrelationBlock {
  static constexpr int TERMS = EVEN + ODD;
  static constexpr int DOTS = BLOCK_PAIRS * TERMS;
  struct Shared {
    T k[BLOCK_PAIRS][TERMS];
    T by_radial[PAIR_GROUPS][TERMS][LANES];
    T dots[DOTS][LANES + 1];  // padded by one, so that threads which sum rows use different banks
    T sums[DOTS];
  };
  struct Thread {
    T dots[PAIRS][TERMS];
  };

  const GridCorrelationJob<T>& job;
  int64_t edge;
  int first_pair;

  EQUINET_INLINE int pair(int thread, int i) const {
    return first_pair + thread / LANES + i * PAIR_GROUPS;
  }

  EQUINET_INLINE void start(int thread, Thread& own, Shared& shared) const {
    EQUINET_UNROLL
    for (int i = 0; i < PAIRS * TERMS; ++i) own.dots[i / TERMS][i % TERMS] = 0;
    if (!job.harmonics) return;
    const T* harmonics = job.harmonics + edge * job.degrees * job.degrees;
    for (int i = thread; i < DOTS; i += FILTER_THREADS) {
      const int p = first_pair + i / TERMS;
      shared.k[i / TERMS][i % TERMS] =
          p < job.half
              ? kernel_at(harmonics, job.table, job.degrees, job.terms.degree[i % TERMS], p)
              : T{0};
    }
  }

  // Computes the products for a tile of channels. A barrier before it is needed.
  EQUINET_INLINE void correlate(int thread, int first_channel, Thread& own, Shared& shared) const {
    const int c = first_channel + thread % LANES;
    T by_radial[TERMS], r[TERMS];
    EQUINET_UNROLL
    for (int t = 0; t < TERMS; ++t) {
      const int64_t row = edge * job.degrees + job.terms.degree[t];
      by_radial[t] = 0;
      r[t] = job.radial && c < job.channels ? job.radial[row * job.channels + c] : T{0};
    }
    if (c < job.channels) {
      const int64_t channels = job.channels, opposite = job.half * channels;
      const T* u = job.u + job.sources[edge] * 2 * opposite + c;
      const T* v = job.v + job.targets[edge] * 2 * opposite + c;
      EQUINET_UNROLL
      for (int j = 0; j < PAIRS; ++j) {
        const int64_t p = pair(thread, j), near = p * channels, far = near + opposite;
        if (p >= job.half) continue;
        T even, odd;
        fold_products(u[near], v[near], u[far], v[far], even, odd);
        EQUINET_UNROLL
        for (int t = 0; t < TERMS; ++t) {
          const T h = t < EVEN ? even : odd;
          if (job.harmonics) by_radial[t] += shared.k[p - first_pair][t] * h;
          own.dots[j][t] += h * r[t];
        }
      }
    }
    EQUINET_UNROLL
    for (int t = 0; t < TERMS; ++t) {
      shared.by_radial[thread / LANES][t][thread % LANES] = by_radial[t];
    }
  }

  // Sums the products of the tile over points. Barriers before and after it are needed.
  EQUINET_INLINE void write_radial(int thread, int first_channel, const Shared& shared) const {
    const int c = first_channel + thread % LANES;
    if (!job.harmonics || c >= job.channels) return;
    for (int t = thread / LANES; t < TERMS; t += PAIR_GROUPS) {
      T sum = 0;
      for (int g = 0; g < PAIR_GROUPS; ++g) sum += shared.by_radial[g][t][thread % LANES];
      T& result = job.by_radial[(edge * job.degrees + job.terms.degree[t]) * job.channels + c];
      result = first_pair == 0 ? sum : result + sum;
    }
  }

  EQUINET_INLINE void share_dots(int thread, const Thread& own, Shared& shared) const {
    EQUINET_UNROLL
    for (int j = 0; j < PAIRS; ++j) {
      const int p = pair(thread, j) - first_pair;
      EQUINET_UNROLL
      for (int t = 0; t < TERMS; ++t) shared.dots[p * TERMS + t][thread % LANES] = own.dots[j][t];
    }
  }

  // Sums over channels. A barrier before it is needed.
  EQUINET_INLINE void sum_dots(int thread, Shared& shared) const {
    for (int i = thread; i < DOTS; i += FILTER_THREADS) {
      T sum = 0;
      for (int lane = 0; lane < LANES; ++lane) sum += shared.dots[i][lane];
      shared.sums[i] = sum;
    }
  }

  // Maps the sums to derivatives by harmonics. Barriers before and after it are needed.
  EQUINET_INLINE void write_harmonics(int thread, const Shared& shared) const {
    const int components = job.degrees * job.degrees;
    T* result = job.by_harmonics + edge * components;
    for (int t = 0; t < TERMS; ++t) {
      const int degree = job.terms.degree[t];
      for (int m = thread; m < 2 * degree + 1; m += FILTER_THREADS) {
        const int lm = degree * degree + m;
        T sum = 0;
        for (int p = 0; p < BLOCK_PAIRS && first_pair + p < job.half; ++p) {
          sum += job.table[int64_t{first_pair + p} * components + lm] * shared.sums[p * TERMS + t];
        }
        result[lm] = first_pair == 0 ? sum : result[lm] + sum;
      }
    }
  }
};

// Sums without table from one sample to components, by one thread for each target, component and
// channel.
template <class T>
EQUINET_INLINE void sum_to_component(const GridSumJob<T>& job, int64_t index) {
  const int64_t channels = job.channels, components = job.degrees * job.degrees;
  const int64_t c = index % channels, lm = index / channels % components;
  const int64_t target = index / (channels * components);
  int degree = 0;
  while ((degree + 1) * (degree + 1) <= lm) ++degree;
  T sum = 0;
  for (int64_t i = job.starts[target]; i < job.starts[target + 1]; ++i) {
    const int64_t e = job.edges[i];
    const T u = job.samples[job.sources[e] * channels + c];
    for (int q = 0; q < job.filters; ++q) {
      const T r = job.radial[q][(e * job.degrees + degree) * channels + c];
      sum += job.harmonics[q][e * components + lm] * (r * u);
    }
  }
  job.sums[index] = sum;
}

// Sums without table from components to one sample, by one thread for each target and channel.
template <class T>
EQUINET_INLINE void sum_components(const GridSumJob<T>& job, int64_t index) {
  const int64_t channels = job.channels, components = job.degrees * job.degrees;
  const int64_t c = index % channels, target = index / channels;
  T sum = 0;
  for (int64_t i = job.starts[target]; i < job.starts[target + 1]; ++i) {
    const int64_t e = job.edges[i];
    const T* u = job.samples + job.sources[e] * components * channels + c;
    for (int q = 0; q < job.filters; ++q) {
      const T* y = job.harmonics[q] + e * components;
      const T* r = job.radial[q] + e * job.degrees * channels + c;
      for (int l = 0; l < job.degrees; ++l) {
        T part = 0;
        for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) part += y[lm] * u[lm * channels];
        sum += r[l * channels] * part;
      }
    }
  }
  job.sums[index] = sum;
}

// Derivative without table by radial weights, by one thread for each edge, degree and channel.
template <class T>
EQUINET_INLINE void correlate_radial(const GridCorrelationJob<T>& job, int64_t index) {
  const int64_t channels = job.channels, components = job.degrees * job.degrees;
  const int64_t c = index % channels, e = index / (channels * job.degrees);
  const int l = int(index / channels % job.degrees);
  const T* y = job.harmonics + e * components;
  const T* v = job.v + job.targets[e] * components * channels + c;
  T sum = 0;
  for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) sum += y[lm] * v[lm * channels];
  job.by_radial[index] = job.u[job.sources[e] * channels + c] * sum;
}

// Derivative without table by harmonics, by one block for each edge and BLOCK_PAIRS components.
template <class T>
struct ComponentBlock {
  struct Shared {
    T dots[BLOCK_PAIRS][LANES + 1];
  };

  const GridCorrelationJob<T>& job;
  int64_t edge;
  int first;

  EQUINET_INLINE void correlate(int thread, Shared& shared) const {
    const int64_t channels = job.channels, components = job.degrees * job.degrees;
    const T* u = job.u + job.sources[edge] * channels;
    const T* v = job.v + job.targets[edge] * components * channels;
    for (int i = thread / LANES; i < BLOCK_PAIRS && first + i < components; i += PAIR_GROUPS) {
      const int lm = first + i;
      int degree = 0;
      while ((degree + 1) * (degree + 1) <= lm) ++degree;
      const T* r = job.radial + (edge * job.degrees + degree) * channels;
      T sum = 0;
      for (int64_t c = thread % LANES; c < channels; c += LANES) {
        sum += u[c] * r[c] * v[lm * channels + c];
      }
      shared.dots[i][thread % LANES] = sum;
    }
  }

  // A barrier before it is needed.
  EQUINET_INLINE void finish(int thread, const Shared& shared) const {
    const int components = job.degrees * job.degrees;
    if (thread >= BLOCK_PAIRS || first + thread >= components) return;
    T sum = 0;
    for (int lane = 0; lane < LANES; ++lane) sum += shared.dots[thread][lane];
    job.by_harmonics[edge * components + first + thread] = sum;
  }
};

// Calls f(Terms<EVEN, ODD>) with the numbers of even and odd terms of a block as constants.
template <int EVEN, int ODD>
struct Terms {};

template <int LIMIT, class F>
void with_terms(const TermBlock& block, const F& f) {
  switch (10 * block.even + block.odd) {
    case 10: return f(Terms<1, 0>{});
    case 11: return f(Terms<1, 1>{});
    case 20: return f(Terms<2, 0>{});
    case 21: return f(Terms<2, 1>{});
    case 22: return f(Terms<2, 2>{});
  }
  if constexpr (LIMIT > 4) {
    switch (10 * block.even + block.odd) {
      case 32: return f(Terms<3, 2>{});
      case 33: return f(Terms<3, 3>{});
      case 42: return f(Terms<4, 2>{});
      case 43: return f(Terms<4, 3>{});
      case 44: return f(Terms<4, 4>{});
    }
  }
}

}  // namespace equinet
