"""What methods, models and metrics are called in front of people who do not read column names."""

from __future__ import annotations

MODELS = {
    "deal_scores": "This model",
    "logistic": "Logistic regression",
    "naive_bayes": "Naive Bayes",
    "stage_age": "Stage and age",
    "crm_probability": "CRM's stage probability",
    "base_rate": "Average of all deals",
}
METHODS = {
    "ours": "This forecast",
    "combined": "This forecast",
    "bottom_up": "Deals alone",
    "series": "Trend of past totals",
    "crm_weighted_pipeline": "CRM-weighted deals",
    "run_rate": "12-month average",
    "run_rate_3": "3-month average",
    "existing_plus_new": "Pipeline conversion",
    "by_stage": "Win rate of stages",
    "by_category": "Forecast categories",
    "submitted": "Submitted by people",
}
METRICS = {
    "quota_achievement_rate": "Reps at quota",
    "quota_attainment": "Quota attained",
    "win_rate": "Win rate, deals",
    "win_rate_amount": "Win rate, money",
    "cycle_mean": "Sales cycle, mean",
    "cycle_median": "Sales cycle, median",
    "cycle_typical": "Typical time to win",
    "deal_size_mean": "Won deal, mean",
    "deal_size_median": "Won deal, median",
    "open_deal_size_mean": "Open deal, mean",
    "open_deal_size_median": "Open deal, median",
    "selling_time_share": "Time spent selling",
    "won_per_selling_hour": "Won per selling hour",
    "weighted_pipeline_crm": "Pipeline weighted by the CRM",
    "weighted_pipeline_model": "Pipeline weighted by the model",
    "pipeline_coverage": "Coverage of what is missing",
    "pipeline_coverage_start": "Coverage at the start",
    "meetings_per_rep": "Meetings per rep",
    "stage_conversion": "Go on to a later stage",
    "stage_win_rate": "Are won in the end",
    "stage_dwell_p50": "Median stay",
    "stage_dwell_p90": "Nine in ten leave within",
    "transition_dwell_p50": "Median stay before",
    "transition_dwell_p90": "Nine in ten stay less before",
    "stage_overdue": "Stay past the agreed days",
    "slippage_deals": "Slipped, deals",
    "slippage_amount": "Slipped, money",
    "pushes_per_deal": "Pushes per open deal",
    "speed_to_lead_p50": "Speed to lead, median",
    "speed_to_lead_p90": "Speed to lead, slowest tenth",
    "ageing_deals": "Ageing deals",
    "ageing_amount": "Money in ageing deals",
}
STEPS = {
    "start": "Due at start", "created": "Created", "re-opened": "Re-opened",
    "pulled in": "Pulled in", "owner in": "Owner in", "amount up": "Amount up",
    "amount down": "Amount down", "currency": "Currency", "pushed out": "Pushed out",
    "owner out": "Owner out", "won": "Won", "lost": "Lost", "removed": "Removed",
    "stage moved": "Stage moved", "date moved": "Date moved", "re-scored": "Re-scored",
    "amount": "Amount", "booked otherwise": "Booked otherwise", "new business": "New business",
    "adjustment": "Trend", "others": "Others", "end": "Due at end",
}  # fmt: skip
STATUS = {"met": "on target", "near": "close to target", "missed": "off target"}


def model_name(name: str) -> str:
    """What a model of predictions.parquet is called."""
    return MODELS.get(name, sentence_case(name))


def method_name(name: str) -> str:
    """What a method of the forecast's record is called."""
    return METHODS.get(name, sentence_case(name))


def metric_name(metric: str) -> str:
    """What a KPI is called; its detail, such as the stage, follows a colon.

    Example:
        >>> metric_name("win_rate"), metric_name("stage_dwell_p50:Demo")
        ('Win rate, deals', 'Median stay: Demo')
    """
    name, _, detail = metric.partition(":")
    said = METRICS.get(name, sentence_case(name))
    return f"{said}: {detail}" if detail else said


def sentence_case(name: str) -> str:
    """A column's name as words.

    Example:
        >>> sentence_case("lead_source")
        'Lead source'
    """
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def node_path(node: str) -> str:
    """A path in a tree without the company, its parts set apart.

    Example:
        >>> node_path("company/EMEA/A%2FB")
        'EMEA · A/B'
    """
    return " · ".join(part.replace("%2F", "/") for part in node.split("/")[1:])


def node_name(node: str) -> str:
    """The last part of a path in the company's tree.

    Example:
        >>> node_name("company/EMEA/A%2FB")
        'A/B'
    """
    return node.rsplit("/", 1)[-1].replace("%2F", "/")
