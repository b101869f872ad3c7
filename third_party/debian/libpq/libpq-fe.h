// Debian keeps libpq's headers in a directory of their own, where no compiler
// looks by itself.
#include <postgresql/libpq-fe.h>
