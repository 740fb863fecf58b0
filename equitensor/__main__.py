from equitensor.cli import main

raise SystemExit(main())
