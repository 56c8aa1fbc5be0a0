module spgbench

go 1.19
