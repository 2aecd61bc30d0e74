//! What an executor counts, for `/metrics`.

use prometheus::{Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// Counters of this process.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Tasks that run now.
    pub running: IntGauge,
    /// Tasks that ended, by how: `succeeded`, `failed`, `cancelled`.
    pub ended: IntCounterVec,
    /// Seconds per ended task.
    pub seconds: Histogram,
    /// Broadcast sides of joins that tasks needed, by how they came by them: `fetched` or `shared`.
    pub broadcasts: IntCounterVec,
    ready: IntGauge,
    vcores: IntGauge,
    work_dir_free_bytes: Gauge,
}

impl Metrics {
    pub fn new(vcores: usize) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let metrics = Self {
            running: IntGauge::new("orrery_executor_tasks_running", "Tasks that run now")?,
            ended: IntCounterVec::new(Opts::new("orrery_executor_tasks_total", "Tasks that ended, by outcome"), &["outcome"])?,
            seconds: Histogram::with_opts(
                HistogramOpts::new("orrery_executor_task_seconds", "Wall time of tasks")
                    .buckets(vec![0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0]),
            )?,
            broadcasts: IntCounterVec::new(
                Opts::new("orrery_executor_broadcasts_total", "Broadcast sides of joins that tasks needed, fetched or shared"),
                &["outcome"],
            )?,
            ready: IntGauge::new("orrery_executor_ready", "1 while the scheduler answers heartbeats")?,
            vcores: IntGauge::new("orrery_executor_vcores", "Partitions worked on at the same time")?,
            work_dir_free_bytes: Gauge::new("orrery_executor_work_dir_free_bytes", "Free space where shuffle files are written")?,
            registry,
        };
        metrics.vcores.set(i64::try_from(vcores).unwrap_or(i64::MAX));
        metrics.registry.register(Box::new(metrics.running.clone()))?;
        metrics.registry.register(Box::new(metrics.ended.clone()))?;
        metrics.registry.register(Box::new(metrics.seconds.clone()))?;
        metrics.registry.register(Box::new(metrics.broadcasts.clone()))?;
        metrics.registry.register(Box::new(metrics.ready.clone()))?;
        metrics.registry.register(Box::new(metrics.vcores.clone()))?;
        metrics.registry.register(Box::new(metrics.work_dir_free_bytes.clone()))?;
        Ok(metrics)
    }

    /// The text that Prometheus reads.
    pub fn render(&self, is_ready: bool, work_dir_free_bytes: Option<u64>) -> prometheus::Result<String> {
        self.ready.set(i64::from(is_ready));
        if let Some(free) = work_dir_free_bytes {
            self.work_dir_free_bytes.set(free as f64);
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_every_metric() {
        let metrics = Metrics::new(3).unwrap();
        metrics.ended.with_label_values(&["succeeded"]).inc();
        let text = metrics.render(true, Some(12)).unwrap();
        for line in ["orrery_executor_vcores 3", "orrery_executor_ready 1", "orrery_executor_tasks_total{outcome=\"succeeded\"} 1"] {
            assert!(text.contains(line), "{text}");
        }
    }
}
