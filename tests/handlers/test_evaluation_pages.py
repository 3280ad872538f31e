"""Pages at the end of an evaluation."""

from ignite.engine import Engine

from handlers import EvaluationPages
from tests.reports.evaluations import chests, mean_volume, write_evaluation


def test_an_evaluation_ends_with_its_report_which_links_to_the_pages_of_cases(tmp_path):
    write_evaluation(tmp_path, lambda number: 0.5 * chests()[number] + 0.5 * mean_volume(), names=("a", "b"))
    (tmp_path / "cases.csv").write_text("case,psnr_db/prediction\na,21.0\nb,22.0\n")
    engine = Engine(lambda engine, batch: None)
    EvaluationPages(tmp_path, count=1).attach(engine)
    engine.run([0])
    assert [path.name for path in (tmp_path / "pages").iterdir()] == ["b.html"]
    text = (tmp_path / "report.html").read_text()
    assert 'href="pages/b.html"' in text
    assert "pages/a.html" not in text
