"""`scripts/bench people`: what volunteers and coordinators meet, in figures. One module for figures that belong together."""
