#!/bin/sh
# Compiles the kernels of the tests: needs Debian's clang-19 and lld-19. The tests run without.
set -e
cd "$(dirname "$0")"
compile() {
    "${CLANG:-clang-19}" -x cl -cl-std=CL2.0 -target amdgcn-amd-amdhsa -mcpu="$1" -nogpulib -O2 \
        -Xclang -finclude-default-header -ffp-contract=off $3 -o "$2" kernels.cl
}
compile gfx1030 gfx1030.co
compile gfx1100 gfx1100.co
compile gfx1030 gfx1030-wave64.co -mwavefrontsize64
compile gfx1100 gfx1100-wave64.co -mwavefrontsize64
# Products of matrices: Debian's clang-21 made these.
matrices() {
    "${CLANG21:-clang-21}" -x cl -cl-std=CL2.0 -target amdgcn-amd-amdhsa -mcpu=gfx1100 -nogpulib -O2 \
        -Xclang -finclude-default-header $2 -o "$1" matrices.cl
}
matrices gfx1100-matrices.co
matrices gfx1100-matrices-wave64.co "-mwavefrontsize64 -DWAVE64"
for target in gfx1030 gfx1100; do
    "${CLANG21:-clang-21}" -x cl -cl-std=CL2.0 -target amdgcn-amd-amdhsa -mcpu=$target -nogpulib -O2 \
        -Xclang -finclude-default-header -o $target-exchanges.co exchanges.cl
done
