DROP TABLE sandbox_faults;
DROP TABLE sandbox_charges;
DROP TABLE sandbox_methods;
