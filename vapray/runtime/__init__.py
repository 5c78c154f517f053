"""Ray sessions, cluster resources, actor pools and progress; the only package below the stages that imports Ray."""
