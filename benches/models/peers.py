"""Does one case with one peer in this process and reports how long it took and how good it was: `peers.py ENGINE CASE THREADS NAME=VALUE…`."""

import json
import os
import sys
import time

values = dict(argument.split("=", 1) for argument in sys.argv[4:])
threads = int(sys.argv[3])
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(threads)


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def table(name, columns):
    import numpy
    import pyarrow.parquet

    read = pyarrow.parquet.read_table(values[name], columns=columns)
    return numpy.column_stack([read[column].to_numpy().astype("float64") for column in columns])


FEATURES = ["frequency", "monetary", "average_amount", "distinct_products"]


class sklearn:
    @staticmethod
    def version():
        import sklearn

        return sklearn.__version__

    @staticmethod
    def kmeans_customers():
        """Best of 20 starts, as a measure of what can be reached."""
        from sklearn.cluster import KMeans
        from sklearn.preprocessing import StandardScaler

        points = table("customers", FEATURES)
        points = StandardScaler().fit_transform(points) * ((len(points) - 1) / len(points)) ** 0.5
        seconds, model = timed(lambda: KMeans(int(values["clusters"]), n_init=20, max_iter=20, random_state=42).fit(points))
        return seconds, round(model.inertia_, 1)

    @staticmethod
    def kmeans_large():
        from sklearn.cluster import KMeans

        points = table("large", [f"x{i}" for i in range(10)])
        seconds, model = timed(lambda: KMeans(8, n_init=1, max_iter=20, tol=0, random_state=42).fit(points))
        return seconds, round(model.inertia_, 1)


class implicit:
    @staticmethod
    def version():
        import implicit

        return implicit.__version__

    @staticmethod
    def als_implicit():
        import numpy
        import pyarrow.parquet
        import scipy.sparse
        from implicit.als import AlternatingLeastSquares

        read = pyarrow.parquet.read_table(values["ratings"])
        keep = ~read["is_held_out"].to_numpy(zero_copy_only=False)
        users = numpy.unique(read["user_id"].to_numpy()[keep], return_inverse=True)[1]
        items = numpy.unique(read["product_id"].to_numpy()[keep], return_inverse=True)[1]
        ratings = scipy.sparse.csr_matrix((read["rating"].to_numpy()[keep].astype("float32"), (users, items)))
        model = AlternatingLeastSquares(
            factors=int(values["factors"]), regularization=0.1, alpha=1.0, iterations=10, num_threads=threads, random_state=42, calculate_training_loss=False
        )
        seconds, _ = timed(lambda: model.fit(ratings, show_progress=False))
        return seconds, None


class spark:
    session = None

    @classmethod
    def start(cls):
        from pyspark.sql import SparkSession

        builder = SparkSession.builder.master(f"local[{threads}]")
        settings = {
            "spark.driver.memory": "8g", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
            "spark.sql.shuffle.partitions": str(4 * threads), "spark.ui.enabled": "false", "spark.local.dir": "/tmp/orrery-bench-spark",
        }
        for key, value in settings.items():
            builder = builder.config(key, value)
        cls.session = builder.getOrCreate()
        cls.session.range(1000).count()  # its start is not the training's

    @classmethod
    def version(cls):
        return cls.session.version

    @classmethod
    def points(cls, name, columns):
        from pyspark.ml.feature import VectorAssembler

        return VectorAssembler(inputCols=columns, outputCol="raw").transform(cls.session.read.parquet(values[name]))

    @classmethod
    def kmeans_customers(cls):
        from pyspark.ml.clustering import KMeans
        from pyspark.ml.feature import StandardScaler

        raw = cls.points("customers", FEATURES)
        points = StandardScaler(inputCol="raw", outputCol="features", withMean=True).fit(raw).transform(raw).cache()
        points.count()
        seconds, model = timed(lambda: KMeans(k=int(values["clusters"]), seed=42, maxIter=20).fit(points))
        return seconds, round(model.summary.trainingCost, 1)

    @classmethod
    def kmeans_large(cls):
        from pyspark.ml.clustering import KMeans

        points = cls.points("large", [f"x{i}" for i in range(10)]).withColumnRenamed("raw", "features").cache()
        points.count()
        seconds, model = timed(lambda: KMeans(k=8, seed=42, maxIter=20, tol=0.0).fit(points))
        return seconds, round(model.summary.trainingCost, 1)

    @classmethod
    def recommender(cls):
        from pyspark.ml.recommendation import ALS

        ratings = cls.session.read.parquet(values["ratings"]).selectExpr(
            "CAST(user_id AS INT) user_id", "CAST(product_id AS INT) product_id", "CAST(rating AS FLOAT) rating", "is_held_out"
        )
        train = ratings.where("NOT is_held_out").cache()
        train.count()
        als = ALS(rank=10, maxIter=10, regParam=0.1, userCol="user_id", itemCol="product_id", ratingCol="rating", coldStartStrategy="drop", seed=42)
        seconds, model = timed(lambda: als.fit(train))
        return seconds, model, ratings

    @classmethod
    def als_explicit(cls):
        from pyspark.ml.evaluation import RegressionEvaluator

        seconds, model, ratings = cls.recommender()
        held_out = model.transform(ratings.where("is_held_out"))
        return seconds, round(RegressionEvaluator(metricName="rmse", labelCol="rating").evaluate(held_out), 4)

    @classmethod
    def recommend_all(cls):
        _, model, _ = cls.recommender()
        seconds, rows = timed(lambda: model.recommendForAllUsers(10).selectExpr("sum(size(recommendations))").collect()[0][0])
        return seconds, rows


if __name__ == "__main__":
    engine = globals()[sys.argv[1]]
    if hasattr(engine, "start"):
        engine.start()
    seconds, quality = getattr(engine, sys.argv[2])()
    print(json.dumps({"event": "result", "version": engine.version(), "seconds": seconds, "quality": quality}), flush=True)
