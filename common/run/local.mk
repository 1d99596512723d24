# Depends on nothing but base and the C library.
