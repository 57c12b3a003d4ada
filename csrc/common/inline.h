// Macros for inlining and unrolling that both g++ and nvcc understand.
#pragma once

#ifdef __CUDACC__
#define EQUINET_INLINE __host__ __device__ __forceinline__
#define EQUINET_LAMBDA_INLINE
#else
#define EQUINET_INLINE inline __attribute__((always_inline))
#define EQUINET_LAMBDA_INLINE __attribute__((always_inline))
#endif
#ifdef __CUDA_ARCH__
#define EQUINET_UNROLL _Pragma("unroll")
#define EQUINET_NO_UNROLL _Pragma("unroll 1")
#elif defined(__CUDACC__)  // host code that nvcc compiles is never run
#define EQUINET_UNROLL
#define EQUINET_NO_UNROLL
#else
#define EQUINET_UNROLL _Pragma("GCC unroll 32")
#define EQUINET_NO_UNROLL _Pragma("GCC unroll 1")
#endif
// After this line the compiler reads values in memory again instead of keeping them in registers.
#define EQUINET_FORGET_MEMORY asm volatile("" ::: "memory")
