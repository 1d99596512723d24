# Depends on nothing but the C library.
