"""Attribution methods compared by metrics of faithfulness, localisation, robustness and cost."""
