"""Pure NumPy and SciPy maths that Spark tasks call; nothing here imports pyspark."""
