// Kernels with atomic operations that no compiler makes of C. assemble.sh compiles them; the test computes the same on the host.

#ifdef __GFX11__
#define EXCHANGE "ds_storexchg_2addr_rtn_b32"
#define EXCHANGE_FAR "ds_storexchg_2addr_stride64_rtn_b32"
#define COMPARE "ds_cmpstore_rtn_f32 %0, %1, %3, %2"
#define COMPARE_GLOBAL "global_atomic_cmpswap_f32 %0, %1, %2, off glc"
#define SUBTRACT "global_atomic_csub_u32 %0, %1, %2, off glc"
#else
#define EXCHANGE "ds_wrxchg2_rtn_b32"
#define EXCHANGE_FAR "ds_wrxchg2st64_rtn_b32"
#define COMPARE "ds_cmpst_rtn_f32 %0, %1, %2, %3"
#define COMPARE_GLOBAL "global_atomic_fcmpswap %0, %1, %2, off glc"
#define SUBTRACT "global_atomic_csub %0, %1, %2, off glc"
#endif
#define SIZE 32
#define LANE __builtin_amdgcn_workitem_id_x()
#define WAIT "\n s_waitcnt vmcnt(0) lgkmcnt(0)"

// Each item has 12 words: what memory has, and then what the operations take. It writes memory and what they return.
__attribute__((reqd_work_group_size(SIZE, 1, 1))) kernel void exchanges(
    global const uint *in, global uint *memory, global uint *out) {
    local uint shared[256];
    uint l = LANE;
    // A place for each item, twice: the second 64 words further.
    local uint *near = shared + 2 * (l % 32), *far = near + 128;
    global const uint *given = in + 12 * l;
    near[0] = given[0];
    near[1] = given[1];
    far[0] = given[2];
    far[1] = given[3];
    uint place = (uint)(size_t)near, single;
    ulong both;
    global uint *o = out + 16 * l;
    __asm__ volatile(EXCHANGE " %0, %1, %2, %3 offset0:0 offset1:1" WAIT
                 : "=&v"(both) : "v"(place), "v"(given[4]), "v"(given[5]) : "memory");
    o[0] = both;
    o[1] = both >> 32;
    __asm__ volatile(EXCHANGE_FAR " %0, %1, %2, %3 offset0:0 offset1:2" WAIT
                 : "=&v"(both) : "v"(place), "v"(given[6]), "v"(given[7]) : "memory");
    o[2] = both;
    o[3] = both >> 32;
    __asm__ volatile("ds_wrap_rtn_b32 %0, %1, %2, %3" WAIT
                 : "=&v"(single) : "v"(place), "v"(given[8]), "v"(given[9]) : "memory");
    o[4] = single;
    __asm__ volatile(COMPARE " offset:4" WAIT
                 : "=&v"(single) : "v"(place), "v"(given[10]), "v"(given[11]) : "memory");
    o[5] = single;
    ulong marked = given[4] | (ulong)given[5] << 32;
    __asm__ volatile("ds_condxchg32_rtn_b64 %0, %1, %2 offset:512" WAIT : "=&v"(both) : "v"(place), "v"(marked) : "memory");
    o[6] = both;
    o[7] = both >> 32;
    o[8] = near[0];
    o[9] = near[1];
    o[10] = far[0];
    o[11] = far[1];
    global uint *far_away = memory + 2 * l;
    __asm__ volatile(SUBTRACT WAIT : "=&v"(single) : "v"(far_away), "v"(given[8]) : "memory");
    o[12] = single;
    // What to write comes first, then what to compare with.
    ulong wanted = given[11] | (ulong)given[10] << 32;
    __asm__ volatile(COMPARE_GLOBAL WAIT : "=&v"(single) : "v"(far_away + 1), "v"(wanted) : "memory");
    o[13] = single;
}
