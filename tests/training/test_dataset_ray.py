"""The same preparation on a Ray cluster of two nodes, on this machine."""

import logging

import pytest

from loquor.errors import MissingExtra
from loquor.training.dataset.build import prepare_dataset
from loquor.training.dataset.on_ray import on_ray
from loquor.training.dataset.settings import Settings
from loquor.training.dataset.shards import Job
from loquor.training.dataset.sources import open_source
from training.recordings import write_model, write_pairs

SETTINGS = Settings(language="en", shard_items=2, validation=0.3, keep_audio=True)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_cluster_makes_the_same_bytes_and_goes_on_where_another_run_stopped(tmp_path):
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    from ray.cluster_utils import Cluster

    model, source = write_model(tmp_path / "model"), open_source(write_pairs(tmp_path / "pairs", 11))
    prepare_dataset(source, tmp_path / "alone", Job(model, SETTINGS))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        assert sum(node["Alive"] for node in ray.nodes()) == 2
        prepare_dataset(source, tmp_path / "ray", Job(model, SETTINGS), on_ray(2))
        (tmp_path / "ray" / "shards" / "shard-000003.safetensors").unlink()
        (tmp_path / "ray" / "index.json").unlink()
        prepare_dataset(source, tmp_path / "ray", Job(model, SETTINGS), on_ray(2))
        assert ray.is_initialized()  # it was ours: it stays
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert contents(tmp_path / "ray") == contents(tmp_path / "alone")


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtra) as error:
        on_ray(2)
    assert "loquor[ray]" in error.value.hint
