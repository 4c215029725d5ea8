// Kernels with gfx11's products of matrices. assemble.sh compiles them; the test computes the same on the host.
// One wave multiplies 16 by 16 numbers as AMD's guide for programmers describes: lane n has row n of A and column n of B.

#pragma OPENCL EXTENSION cl_khr_fp16 : enable

#ifdef WAVE64
#define SIZE 64
#define WAVE(name) __builtin_amdgcn_##name##_w64
typedef float floats __attribute__((ext_vector_type(4)));
typedef int ints __attribute__((ext_vector_type(4)));
typedef half halves __attribute__((ext_vector_type(8)));
typedef short shorts __attribute__((ext_vector_type(8)));
#else
#define SIZE 32
#define WAVE(name) __builtin_amdgcn_##name##_w32
typedef float floats __attribute__((ext_vector_type(8)));
typedef int ints __attribute__((ext_vector_type(8)));
typedef half halves __attribute__((ext_vector_type(16)));
typedef short shorts __attribute__((ext_vector_type(16)));
#endif
#define REGISTERS (256 / SIZE)
#define KERNEL __attribute__((reqd_work_group_size(SIZE, 1, 1))) kernel void
#define LANE __builtin_amdgcn_workitem_id_x()
#define PLACE(r) (((r) * (SIZE / 16) + LANE / 16) * 16 + LANE % 16)

typedef half row16 __attribute__((ext_vector_type(16)));
typedef short bits16 __attribute__((ext_vector_type(16)));
typedef int words4 __attribute__((ext_vector_type(4)));
typedef int words2 __attribute__((ext_vector_type(2)));

bits16 row(global const short *a) {
    bits16 v;
    for (int i = 0; i < 16; i++) v[i] = a[LANE % 16 * 16 + i];
    return v;
}

bits16 column(global const short *b) {
    bits16 v;
    for (int i = 0; i < 16; i++) v[i] = b[i * 16 + LANE % 16];
    return v;
}

KERNEL floats_of_halves(global const short *a, global const short *b, global const float *c, global float *d) {
    floats v;
    for (int r = 0; r < REGISTERS; r++) v[r] = c[PLACE(r)];
    v = WAVE(wmma_f32_16x16x16_f16)(__builtin_astype(row(a), row16), __builtin_astype(column(b), row16), v);
    for (int r = 0; r < REGISTERS; r++) d[PLACE(r)] = v[r];
}

KERNEL floats_of_bfloats(global const short *a, global const short *b, global const float *c, global float *d) {
    floats v;
    for (int r = 0; r < REGISTERS; r++) v[r] = c[PLACE(r)];
    v = WAVE(wmma_f32_16x16x16_bf16)(row(a), column(b), v);
    for (int r = 0; r < REGISTERS; r++) d[PLACE(r)] = v[r];
}

KERNEL constant_addend(global const short *a, global const short *b, global float *d) {
    floats v = (floats)(1.0f);
    v = WAVE(wmma_f32_16x16x16_f16)(__builtin_astype(row(a), row16), __builtin_astype(column(b), row16), v);
    for (int r = 0; r < REGISTERS; r++) d[PLACE(r)] = v[r];
}

// Both halves of the registers have a matrix.
KERNEL halves_of_halves(global const short *a, global const short *b, global const short *c, global short *d) {
    shorts v;
    for (int r = 0; r < REGISTERS; r++) {
        v[2 * r] = c[PLACE(r)];
        v[2 * r + 1] = c[256 + PLACE(r)];
    }
    halves h = __builtin_astype(v, halves);
    row16 x = __builtin_astype(row(a), row16), y = __builtin_astype(column(b), row16);
    h = WAVE(wmma_f16_16x16x16_f16)(x, y, h, false);
    h = WAVE(wmma_f16_16x16x16_f16)(y, x, h, true);
    v = __builtin_astype(h, shorts);
    for (int r = 0; r < REGISTERS; r++) {
        d[PLACE(r)] = v[2 * r];
        d[256 + PLACE(r)] = v[2 * r + 1];
    }
}

KERNEL bfloats_of_bfloats(global const short *a, global const short *b, global const short *c, global short *d) {
    shorts v;
    for (int r = 0; r < REGISTERS; r++) {
        v[2 * r] = c[PLACE(r)];
        v[2 * r + 1] = c[256 + PLACE(r)];
    }
    v = WAVE(wmma_bf16_16x16x16_bf16)(row(a), column(b), v, true);
    for (int r = 0; r < REGISTERS; r++) {
        d[PLACE(r)] = v[2 * r];
        d[256 + PLACE(r)] = v[2 * r + 1];
    }
}

// Whole numbers, of which A's and B's are a byte each here.
#define INTEGERS(name, words, bits, builtin) \
    KERNEL name(global const uchar *a, global const uchar *b, global const int *c, global int *d) { \
        words x = 0, y = 0; \
        for (int i = 0; i < 16; i++) { \
            uint mask = (1 << bits) - 1; \
            x[i * bits / 32] |= (a[LANE % 16 * 16 + i] & mask) << (i * bits % 32); \
            y[i * bits / 32] |= (b[i * 16 + LANE % 16] & mask) << (i * bits % 32); \
        } \
        ints v; \
        for (int r = 0; r < REGISTERS; r++) v[r] = c[PLACE(r)]; \
        ints w = WAVE(builtin)(true, x, false, y, v, true); \
        v = WAVE(builtin)(false, x, true, y, v, false); \
        for (int r = 0; r < REGISTERS; r++) { \
            d[PLACE(r)] = v[r]; \
            d[256 + PLACE(r)] = w[r]; \
        } \
    }

INTEGERS(integers_of_bytes, words4, 8, wmma_i32_16x16x16_iu8)
INTEGERS(integers_of_nibbles, words2, 4, wmma_i32_16x16x16_iu4)

// Sums of products of what two words have.
KERNEL dots(global const int *a, global const int *b, global const int *c, global int *d) {
    uint l = LANE;
    d[4 * l] = __builtin_amdgcn_sudot4(true, a[l], false, b[l], c[l], false);
    d[4 * l + 1] = __builtin_amdgcn_sudot4(false, a[l], true, b[l], c[l], true);
    d[4 * l + 2] = __builtin_amdgcn_sudot8(true, a[l], true, b[l], c[l], false);
    d[4 * l + 3] = __builtin_amdgcn_sudot8(false, a[l], true, b[l], c[l], true);
}
