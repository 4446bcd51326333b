"""A model of public parts that describes photographs: its packages, weights, class and adapters; not in the wheel."""
