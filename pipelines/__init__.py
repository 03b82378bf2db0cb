"""How a prompt is learned and used: pure PyTorch, knowing neither Ray nor MLflow."""
