"""LAMMPS: the pair style as a plug-in that is compiled where it runs, input to start from, and a check of both."""
