// Microsoft's long double is a double.
#include <complex.h>
float own_cabsf(float _Complex a) { return cabsf(a); }
double own_cabsl(double _Complex a) { return cabs(a); }
double own_carg(double _Complex a) { return carg(a); }
float own_cargf(float _Complex a) { return cargf(a); }
double own_cargl(double _Complex a) { return carg(a); }
double _Complex own_ccos(double _Complex a) { return ccos(a); }
float _Complex own_ccosf(float _Complex a) { return ccosf(a); }
double _Complex own_ccosh(double _Complex a) { return ccosh(a); }
float _Complex own_ccoshf(float _Complex a) { return ccoshf(a); }
double _Complex own_ccoshl(double _Complex a) { return ccosh(a); }
double _Complex own_ccosl(double _Complex a) { return ccos(a); }
double _Complex own_cexp(double _Complex a) { return cexp(a); }
float _Complex own_cexpf(float _Complex a) { return cexpf(a); }
double _Complex own_cexpl(double _Complex a) { return cexp(a); }
double own_cimag(double _Complex a) { return cimag(a); }
float own_cimagf(float _Complex a) { return cimagf(a); }
double own_cimagl(double _Complex a) { return cimag(a); }
double _Complex own_cpow(double _Complex a, double _Complex b) { return cpow(a, b); }
float _Complex own_cpowf(float _Complex a, float _Complex b) { return cpowf(a, b); }
double _Complex own_cpowl(double _Complex a, double _Complex b) { return cpow(a, b); }
double own_creal(double _Complex a) { return creal(a); }
float own_crealf(float _Complex a) { return crealf(a); }
double own_creall(double _Complex a) { return creal(a); }
double _Complex own_csin(double _Complex a) { return csin(a); }
float _Complex own_csinf(float _Complex a) { return csinf(a); }
double _Complex own_csinh(double _Complex a) { return csinh(a); }
float _Complex own_csinhf(float _Complex a) { return csinhf(a); }
double _Complex own_csinhl(double _Complex a) { return csinh(a); }
double _Complex own_csinl(double _Complex a) { return csin(a); }
double _Complex own_ctan(double _Complex a) { return ctan(a); }
float _Complex own_ctanf(float _Complex a) { return ctanf(a); }
double _Complex own_ctanh(double _Complex a) { return ctanh(a); }
float _Complex own_ctanhf(float _Complex a) { return ctanhf(a); }
double _Complex own_ctanhl(double _Complex a) { return ctanh(a); }
double _Complex own_ctanl(double _Complex a) { return ctan(a); }
