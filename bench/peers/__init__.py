"""This project beside other servers of the same model: installed, started, asked alike."""
