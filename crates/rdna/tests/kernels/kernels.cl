// Kernels for the tests of the interpreter. assemble.sh compiles them; the test computes the same on the host.

#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#pragma OPENCL EXTENSION cl_khr_fp64 : enable

// The size is a constant, so that no implicit arguments are needed.
#define SIZE 128
#define ID (__builtin_amdgcn_workgroup_id_x() * SIZE + __builtin_amdgcn_workitem_id_x())
#define LOCAL __builtin_amdgcn_workitem_id_x()
#define BARRIER \
    do { \
        __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup"); \
        __builtin_amdgcn_s_barrier(); \
        __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup"); \
    } while (0)
#define KERNEL __attribute__((reqd_work_group_size(SIZE, 1, 1))) kernel void

KERNEL add(global const float *a, global const float *b, global float *out, uint n) {
    uint i = ID;
    if (i < n) out[i] = a[i] + b[i];
}

KERNEL copy_bytes(global const uchar *from, global uchar *to, uint n) {
    for (uint i = ID; i < n; i += 2 * SIZE) to[i] = from[i];
}

KERNEL copy_wide(global const uint4 *from, global uint4 *to, uint n) {
    for (uint i = ID; i < n; i += 2 * SIZE) to[i] = from[i];
}

KERNEL fill(global uint *to, uint value, uint n) {
    for (uint i = ID; i < n; i += 2 * SIZE) to[i] = value;
}

// One sum for each workgroup, through its memory.
KERNEL reduce(global const int *in, global int *out) {
    local int sums[SIZE];
    uint l = LOCAL;
    sums[l] = in[ID];
    BARRIER;
    for (uint step = SIZE / 2; step > 0; step /= 2) {
        if (l < step) sums[l] += sums[l + step];
        BARRIER;
    }
    if (l == 0) out[__builtin_amdgcn_workgroup_id_x()] = sums[0];
}

// Each item writes 16 words.
KERNEL convert_float(global const float *in, global uint *out) {
    float f = in[ID];
    double d = f;
    half h = (half)f;
    global uint *o = out + 16 * ID;
    float limited = __builtin_fminf(__builtin_fmaxf(f, -1e6f), 1e6f);
    o[0] = (int)limited;
    o[1] = (uint)__builtin_fabsf(limited);
    o[2] = as_ushort(h);
    o[3] = as_uint((float)h);
    o[4] = as_uint(__builtin_floorf(f));
    o[5] = as_uint(__builtin_ceilf(f));
    o[6] = as_uint(__builtin_truncf(f));
    o[7] = as_uint(__builtin_rintf(f));
    ulong bits = as_ulong(d * 3.0 + 0.1);
    o[8] = bits;
    o[9] = bits >> 32;
    o[10] = as_uint((float)(d / 7.0));
    o[11] = (uchar)(int)limited;
    o[12] = as_uint(__builtin_fminf(f, 2.5f));
    o[13] = as_uint(__builtin_fmaxf(f, -2.5f));
    o[14] = as_uint((float)(int)limited);
    o[15] = as_uint((float)(uint)(int)limited);
}

KERNEL divide_float(global const float *a, global const float *b, global float *out) {
    uint i = ID;
    out[i] = a[i] / b[i];
}

KERNEL divide_double(global const double *a, global const double *b, global double *out) {
    uint i = ID;
    out[2 * i] = a[i] / b[i];
    out[2 * i + 1] = __builtin_fma(a[i], b[i], a[i]);
}

KERNEL roots(global const float *in, global float *out) {
    uint i = ID;
    float f = __builtin_fabsf(in[i]);
    out[4 * i] = __builtin_sqrtf(f);
    out[4 * i + 1] = __builtin_amdgcn_rcpf(f);
    out[4 * i + 2] = __builtin_amdgcn_rsqf(f);
    out[4 * i + 3] = __builtin_amdgcn_fractf(f);
}

KERNEL halves(global const half2 *a, global const half2 *b, global half2 *out) {
    uint i = ID;
    half2 x = a[i], y = b[i];
    out[4 * i] = x + y;
    out[4 * i + 1] = x * y - y;
    out[4 * i + 2] = (half2)(x.x < y.x ? x.y : y.y, x.y / y.x);
    out[4 * i + 3] = (half2)(x.x, y.y);
}

KERNEL integers(global const long *a, global const long *b, global long *out) {
    uint i = ID;
    long x = a[i], y = b[i];
    global long *o = out + 10 * i;
    o[0] = x + y;
    o[1] = x - y;
    o[2] = x * y;
    o[3] = y ? x / y : -1;
    o[4] = y ? (ulong)x % (ulong)y : 1;
    o[5] = x >> (y & 63);
    o[6] = (ulong)x >> (x & 63) | x << (y & 31);
    o[7] = __builtin_popcountl(x) + (x ? __builtin_clzl(x) : 64) * 1000;
    o[8] = x < y ? 3 : (ulong)x < (ulong)y ? 5 : 7;
    o[9] = (int)x * (long)(int)y + __builtin_bitreverse64(x);
}

KERNEL small_integers(global const uint *a, global const uint *b, global uint *out) {
    uint i = ID;
    uint x = a[i], y = b[i];
    global uint *o = out + 12 * i;
    o[0] = (x & 0xff) + (y >> 8 & 0xff);
    o[1] = (uint)(char)(x >> 16) * (uint)(short)y;
    o[2] = (ushort)x < (ushort)y ? (short)(x >> 16) >> (y & 15) : (ushort)(x + y);
    o[3] = x / (y | 1);
    o[4] = x % (y | 1);
    o[5] = (int)x / (int)(y | 1);
    o[6] = __builtin_rotateleft32(x, y);
    o[7] = x > y ? x - y : y - x;
    o[8] = (x & y) | (~x & 0x12345678);
    o[9] = (uint)((ulong)x * y >> 32);
    o[10] = (int)x < (int)y ? (int)x : (int)y;
    o[11] = __builtin_bswap32(x) ^ (y << 3 | 5);
}

// Atomic operations on the program's memory, and on the workgroup's. out has 8 words, and a bin for each 16th below.
KERNEL atomics(global const uint *in, global uint *out, global uint *bins) {
    local uint counts[16];
    uint l = LOCAL;
    if (l < 16) counts[l] = 0;
    BARRIER;
    uint x = in[ID];
    __opencl_atomic_fetch_add((local atomic_uint *)&counts[x % 16], 1, memory_order_relaxed, memory_scope_work_group);
    __opencl_atomic_fetch_add((global atomic_uint *)&out[0], x, memory_order_relaxed, memory_scope_device);
    __opencl_atomic_fetch_max((global atomic_uint *)&out[1], x, memory_order_relaxed, memory_scope_device);
    __opencl_atomic_fetch_min((global atomic_int *)&out[2], (int)x, memory_order_relaxed, memory_scope_device);
    __opencl_atomic_fetch_xor((global atomic_uint *)&out[3], x, memory_order_relaxed, memory_scope_device);
    __opencl_atomic_fetch_add((global atomic_ulong *)&out[4], (ulong)x << 20, memory_order_relaxed, memory_scope_device);
    // An addition that compares and exchanges until nobody was faster.
    uint expected = 0;
    while (!__opencl_atomic_compare_exchange_strong((global atomic_uint *)&out[6], &expected, expected + 3,
                                                    memory_order_relaxed, memory_order_relaxed, memory_scope_device)) {
    }
    uint place = __opencl_atomic_fetch_add((global atomic_uint *)&out[7], 1, memory_order_relaxed, memory_scope_device);
    bins[16 + place] = x;
    BARRIER;
    if (l < 16)
        __opencl_atomic_fetch_add((global atomic_uint *)&bins[l], counts[l], memory_order_relaxed, memory_scope_device);
}

// An array of each item's own, in an order that is known at run time only.
KERNEL own_memory(global const uint *in, global uint *out) {
    uint numbers[32];
    uint seed = in[ID];
    for (uint i = 0; i < 32; i++) numbers[(i * 7 + seed) % 32] = seed * i + i;
    uint sum = 0;
    for (uint i = 0; i < 32; i++) sum = sum * 31 + numbers[(seed + i * i) % 32];
    out[ID] = sum;
}

static __attribute__((noinline)) uint fibonacci(uint n) {
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

// Calls with a stack.
KERNEL recursion(global const uint *in, global uint *out) {
    out[ID] = fibonacci(in[ID] % 8);
}

// Lanes that leave a loop at different times.
KERNEL collatz(global const uint *in, global uint *out) {
    uint x = in[ID], steps = 0;
    while (x != 1) {
        x = x % 2 ? 3 * x + 1 : x / 2;
        steps++;
    }
    out[ID] = steps;
}

// Values of other lanes of the wave.
KERNEL lanes(global const uint *in, global uint *out) {
    uint x = in[ID];
    uint lane = __builtin_amdgcn_mbcnt_hi(~0u, __builtin_amdgcn_mbcnt_lo(~0u, 0));
    global uint *o = out + 8 * ID;
    o[0] = lane;
    o[1] = __builtin_amdgcn_ds_bpermute((lane ^ 5) * 4, x);
    o[2] = __builtin_amdgcn_update_dpp(7, x, 0x111, 0xf, 0xf, false);
    o[3] = __builtin_amdgcn_readfirstlane(x);
    o[4] = __builtin_amdgcn_ds_swizzle(x, 0x1f | 3 << 10);
    o[5] = __builtin_amdgcn_update_dpp(0, x, 0x1b, 0xf, 0xf, true);
    o[6] = __builtin_amdgcn_readlane(x, 9);
    o[7] = __builtin_amdgcn_mov_dpp8(x, 0x688fac);
}

// A pointer that may go anywhere.
KERNEL any_memory(global uint *in, global uint *out) {
    local uint shared[SIZE];
    uint own[4];
    uint l = LOCAL;
    for (uint i = 0; i < 4; i++) own[i] = in[ID] + i;
    shared[l] = in[ID] * 3;
    BARRIER;
    generic uint *places[3] = {&in[ID], &shared[(l + 1) % SIZE], &own[l % 4]};
    uint sum = 0;
    for (uint i = 0; i < 3; i++) {
        generic volatile uint *place = places[(i + in[ID]) % 3];
        sum = sum * 5 + *place;
        *place = sum;
    }
    out[ID] = sum + shared[(l + 1) % SIZE] + own[l % 4];
}

// Places in three dimensions, with a grid that workgroups do not divide.
__attribute__((reqd_work_group_size(8, 4, 2))) kernel void places(global uint *out, uint width, uint height) {
    uint x = __builtin_amdgcn_workgroup_id_x() * 8 + __builtin_amdgcn_workitem_id_x();
    uint y = __builtin_amdgcn_workgroup_id_y() * 4 + __builtin_amdgcn_workitem_id_y();
    uint z = __builtin_amdgcn_workgroup_id_z() * 2 + __builtin_amdgcn_workitem_id_z();
    out[(z * height + y) * width + x] = x | y << 8 | z << 16;
}

// The second workgroup waits for the first one.
KERNEL wait_for_first(global volatile uint *flag, global uint *out) {
    if (__builtin_amdgcn_workgroup_id_x() == 0) {
        out[ID] = ID;
        BARRIER;
        if (LOCAL == 0)
            __opencl_atomic_store((global atomic_uint *)flag, 1, memory_order_release, memory_scope_device);
    } else {
        while (!__opencl_atomic_load((global atomic_uint *)flag, memory_order_acquire, memory_scope_device))
            __builtin_amdgcn_s_sleep(1);
        out[ID] = out[ID - SIZE] + 1000;
    }
}

KERNEL trap(global uint *out) {
    out[ID] = 1;
    if (ID == 3) __builtin_trap();
}

KERNEL forever(global volatile uint *out) {
    while (out[0] == 0) {
    }
}
