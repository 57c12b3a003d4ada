// Choice at run time among the copies of the CPU kernels, one for each instruction set.
#pragma once

namespace equinet {

enum class Isa { baseline, avx2, avx512 };

// The best instruction set of this processor and of the operating system, or a lesser one named by
// the environment variable EQUINET_CPU_CAPABILITY. Chosen once; throws if the name is unknown.
Isa active_isa();

const char* name_of(Isa isa);

}  // namespace equinet

// EQUINET_DECLARE(void f(const float* x, int n)) declares the copies of a kernel, for its driver.
// Use it in namespace equinet; the definition lies in a file named *_kernels.cpp, in
// namespace equinet { namespace EQUINET_ISA { ... } }.
//
// EQUINET_BEST(f) points to the copy for this processor: EQUINET_BEST(f)(x, n).
#if defined(__x86_64__)
#define EQUINET_DECLARE(...) \
  namespace baseline {       \
  __VA_ARGS__;               \
  }                          \
  namespace avx2 {           \
  __VA_ARGS__;               \
  }                          \
  namespace avx512 {         \
  __VA_ARGS__;               \
  }
#define EQUINET_BEST(...)                                                            \
  (::equinet::active_isa() == ::equinet::Isa::avx512 ? &::equinet::avx512::__VA_ARGS__ \
   : ::equinet::active_isa() == ::equinet::Isa::avx2 ? &::equinet::avx2::__VA_ARGS__   \
                                                     : &::equinet::baseline::__VA_ARGS__)
#else
#define EQUINET_DECLARE(...) \
  namespace baseline {       \
  __VA_ARGS__;               \
  }
#define EQUINET_BEST(...) (&::equinet::baseline::__VA_ARGS__)
#endif
